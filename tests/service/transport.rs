//! What works: both protocols, TLS, tokens, probes, models that come and go.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustix::process::Signal;

use crate::common::Onnx;
use crate::harness::{Server, Setup, wait_for};

#[test]
fn a_query_is_a_run_in_either_way() {
    for setup in [Setup::batch(), Setup::packed()] {
        let server = Server::start(&setup, &["small.hec", "--keys", "store"]);
        let total = fs::metadata(setup.path("keys/evaluation.heckeys")).unwrap().len();
        let first = setup.asks(&server.url(), &["--way", "stream"]);
        assert_eq!(first["bytes"]["keys"], total);
        assert!(first["seconds"]["wall"].as_f64().unwrap() > 0.0, "{first}");
        for way in ["stream", "message", "auto"] {
            // Keys are sent once.
            let report = setup.asks(&server.url(), &["--way", way]);
            assert_eq!((&report["bytes"]["keys"], &report["samples"]), (&0.into(), &3.into()), "{report}");
            assert!(report["bytes"]["input"].as_u64().unwrap() > 1000, "{report}");
        }
        // And are on the disk for the next server.
        drop(server);
        let server = Server::start(&setup, &["small.hec", "--keys", "store"]);
        assert_eq!(setup.asks(&server.url(), &[])["bytes"]["keys"], 0);
        server.is_idle();
    }
}

#[test]
fn keys_in_memory_are_given_up_and_sent_again() {
    let setup = Setup::packed();
    let total = fs::metadata(setup.path("keys/evaluation.heckeys")).unwrap().len();
    setup.hec(&["keygen", "--client", "small.hecclient", "-o", "other"]);
    let room = format!("{}", total * 4);
    let server = Server::start(&setup, &["small.hec", "--keys-memory", &room]);
    let own = |folder: &str| {
        let secret = format!("{folder}/secret.heckey");
        let said = setup.hec(&[
            "query",
            "--server",
            &server.url(),
            "--client",
            "small.hecclient",
            "--key",
            &secret,
            "--input",
            "x.csv",
            "--json",
        ]);
        serde_json::from_str::<serde_json::Value>(&said).unwrap()["bytes"]["keys"].as_u64().unwrap()
    };
    assert_eq!([own("keys"), own("keys"), own("other"), own("keys")].map(|bytes| bytes > 0), [true, false, true, true]);
    assert_eq!(server.counter("hec_keys_in_memory"), 1);
}

#[test]
fn what_the_client_computes_in_the_middle() {
    for layout in ["batch", "packed"] {
        let setup = Setup::aided(layout);
        let mut server = Server::start(&setup, &["small.hec"]);
        for _ in 0..2 {
            let report = setup.asks(&server.url(), &[]);
            assert!(report["bytes"]["rounds_down"].as_u64().unwrap() > 1000, "{report}");
            assert!(report["bytes"]["rounds_up"].as_u64().unwrap() > 1000, "{report}");
            assert_eq!(report["rounds"], 1);
        }
        server.is_idle();
        server.lives();
        // On files there is no client to ask.
        let client = ["--client", "small.hecclient", "--key", "keys/secret.heckey"];
        setup.hec(&[&["encrypt"][..], &client, &["--input", "x.csv", "-o", "in.hecct"]].concat());
        let error = setup.error(&[
            "evaluate",
            "small.hec",
            "--keys",
            "keys/evaluation.heckeys",
            "--input",
            "in.hecct",
            "-o",
            "out.hecct",
        ]);
        assert!(error.contains("client"), "{error}");
    }
}

#[test]
fn probes_and_metadata() {
    let setup = Setup::batch();
    let server = Server::start(&setup, &["small.hec"]);
    assert_eq!([server.get("/v2/health/live").0, server.get("/v2/health/ready").0], [200, 200]);
    let (status, text) = server.get("/v2/models/small");
    let model: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &model["inputs"][0]["datatype"]), (200, &"BYTES".into()));
    assert_eq!((model["inputs"][0]["name"].as_str(), model["inputs"][0]["shape"][0].as_u64()), (Some("x"), Some(4)));
    assert_eq!(model["versions"][0].as_str().unwrap().len(), 64);
    assert_eq!(server.get("/v2/models/other").0, 404);
    assert_eq!(server.get("/v2/models/small/ready").0, 200);
    setup.asks(&server.url(), &[]);
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("hec_evaluation_seconds_count{model=\"small\"} 1"), "{metrics}");
    assert!(metrics.contains("hec_samples_total{model=\"small\"} 3"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_open_inference_protocol() {
    use hec_protocol::inference::{ModelMetadataRequest, ModelReadyRequest, ServerLiveRequest, ServerReadyRequest};
    let setup = Setup::batch();
    let server = Server::start(&setup, &["small.hec"]);
    let mut client = server.inference().await;
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let ready = |name: &str| ModelReadyRequest { name: name.to_owned(), version: String::new() };
    assert!(client.model_ready(ready("small")).await.unwrap().into_inner().ready);
    assert!(!client.model_ready(ready("large")).await.unwrap().into_inner().ready);
    let asked = ModelMetadataRequest { name: "small".to_owned(), version: String::new() };
    let metadata = client.model_metadata(asked).await.unwrap().into_inner();
    assert_eq!((metadata.platform.as_str(), metadata.outputs[0].shape.as_slice()), ("hec_ckks", &[2][..]));
}

/// A certificate authority, a server's and a client's certificate.
fn certificates(setup: &Setup) {
    let write = |name: &str, pem: String| fs::write(setup.path(name), pem).unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    write("ca.pem", ca.pem());
    for (name, usage) in
        [("localhost", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let mut own = CertificateParams::new(vec![name.to_owned()]).unwrap();
        own.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        write(&format!("{name}.pem"), own.signed_by(&key, &ca).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

#[test]
fn tls_and_certificates_of_clients() {
    let setup = Setup::batch();
    certificates(&setup);
    let tls = ["small.hec", "--tls-cert", "localhost.pem", "--tls-key", "localhost.key"];
    let server = Server::start(&setup, &tls);
    let url = format!("https://localhost:{}", server.address.port());
    setup.asks(&url, &["--tls-ca", "ca.pem"]);
    setup.asks(&format!("https://{}", server.address), &["--tls-ca", "ca.pem", "--tls-name", "localhost"]);
    // Another authority, another name: no second attempt is made. No TLS.
    for error in [
        setup.error(&setup.query(&url, &[])),
        setup.error(&setup.query(&format!("https://{}", server.address), &["--tls-ca", "ca.pem"])),
    ] {
        assert!(error.contains("invalid peer certificate") && error.contains("--tls-ca"), "{error}");
    }
    let short = ["--timeout", "2"];
    setup.error(&setup.query(&server.url(), &short));
    drop(server);

    let server = Server::start(&setup, &[&tls[..], &["--client-ca", "ca.pem"]].concat());
    let url = format!("https://localhost:{}", server.address.port());
    setup.asks(&url, &["--tls-ca", "ca.pem", "--tls-cert", "client.pem", "--tls-key", "client.key"]);
    setup.error(&setup.query(&url, &[&short[..], &["--tls-ca", "ca.pem"]].concat()));
}

#[test]
fn tokens_are_asked_for_expire_and_are_read_again() {
    let setup = Setup::batch();
    let tokens = |text: &str| fs::write(setup.path("tokens"), text).unwrap();
    tokens("# name token expires\nalice alices-long-token-0 never\nbob bobs-very-long-token 2020-01-01T00:00:00Z\n");
    for (name, token) in
        [("alice", "alices-long-token-0"), ("bob", "bobs-very-long-token"), ("eve", "eves-guess-at-a-token")]
    {
        fs::write(setup.path(name), token).unwrap();
    }
    let server = Server::start(&setup, &["small.hec", "--token-file", "tokens"]);
    let with = |name| ["--token-file", name];
    setup.asks(&server.url(), &with("alice"));
    assert!(setup.error(&setup.query(&server.url(), &with("bob"))).contains("the token has expired"));
    assert!(setup.error(&setup.query(&server.url(), &with("eve"))).contains("the token is not known here"));
    assert!(setup.error(&setup.query(&server.url(), &[])).contains("authorization: Bearer"));
    // Probes need none.
    assert_eq!(server.get("/v2/health/ready").0, 200);
    tokens("eve eves-guess-at-a-token never\n");
    wait_for("new tokens", || {
        setup.command(&setup.query(&server.url(), &with("eve"))).output().unwrap().status.success()
    });
    assert!(setup.error(&setup.query(&server.url(), &with("alice"))).contains("not known here"));
    // What is no file of tokens changes nothing.
    tokens("eve short never\n");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    setup.asks(&server.url(), &with("eve"));
}

#[test]
fn models_come_and_go_without_a_pause() {
    let setup = Setup::batch();
    fs::create_dir(setup.path("models")).unwrap();
    let mut server = Server::start(&setup, &["--repository", "models"]);
    assert_eq!(server.get("/v2/health/ready").0, 503);
    // Files appear whole.
    let serve = |from: &str, name: &str| {
        fs::copy(setup.path(from), setup.path("models/.new")).unwrap();
        fs::rename(setup.path("models/.new"), setup.path("models").join(name)).unwrap();
    };
    serve("small.hec", "small.hec");
    wait_for("the model", || server.get("/v2/models/small").0 == 200);
    setup.asks(&server.url(), &[]);
    let version = |server: &Server| server.get("/v2/models/small").1;
    let before = version(&server);

    // Other weights under the same name.
    let other = Onnx::new()
        .input("x", &[4])
        .weights("w", &[4, 2], &[0.5, 0.25, -0.5, 1.0, 0.75, -0.25, 0.125, 0.5])
        .node("MatMul", &["x", "w"], "y")
        .output("y");
    fs::write(setup.path("other.onnx"), other.bytes()).unwrap();
    setup.hec(&["compile", "other.onnx"]);
    serve("other.hec", "small.hec");
    wait_for("another program", || version(&server) != before);
    assert!(setup.error(&setup.query(&server.url(), &[])).contains("take the client file of that one"));
    // A damaged file leaves what is there.
    fs::write(setup.path("models/small.hec"), b"HECPROG\0 or so").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(server.get("/v2/models/small").0, 200);
    serve("small.hec", "small.hec");
    wait_for("the first program", || version(&server) == before);
    setup.asks(&server.url(), &[]);
    fs::remove_file(setup.path("models/small.hec")).unwrap();
    wait_for("no model", || server.get("/v2/models/small").0 == 404);
    assert!(setup.error(&setup.query(&server.url(), &[])).contains("there is no model"));
    server.lives();
}

#[test]
fn asked_to_end_it_finishes_and_ends() {
    let setup = Setup::batch();
    let mut server = Server::start(&setup, &["small.hec"]);
    setup.asks(&server.url(), &[]);
    server.signal(Signal::TERM);
    wait_for("the end", || server.child.try_wait().unwrap().is_some());
    assert!(server.child.wait().unwrap().success());
}
