//! What breaks on the way, and who breaks it.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use hec_protocol::encrypted::evaluate_request::Message as Up;
use hec_protocol::encrypted::{EvaluateRequest, KeyStatusRequest, Open};
use tokio_stream::StreamExt;
use tonic::Code;

use crate::harness::{Server, Setup, fingerprint, wait_for};
use crate::proxy::{Proxy, Trouble};

#[test]
fn a_client_killed_while_it_sends_keys_goes_on_where_it_was() {
    let setup = Setup::packed();
    let keys = setup.keys();
    for arguments in [&["small.hec", "--keys", "store"][..], &["small.hec"]] {
        let mut server = Server::start(&setup, arguments);
        let proxy =
            Proxy::start(server.address, Trouble { stall_after: Some(keys.len() as u64 / 2), ..Trouble::default() });
        let mut command = setup.command(
            &setup
                .query("http://x", &[])
                .iter()
                .map(|&text| if text == "http://x" { Box::leak(proxy.url().into_boxed_str()) } else { text })
                .collect::<Vec<_>>(),
        );
        let mut client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("half of the keys", || proxy.passed() >= keys.len() as u64 / 2);
        std::thread::sleep(Duration::from_millis(500));
        client.kill().unwrap();
        client.wait().unwrap();
        proxy.calm();
        server.is_idle();
        let sent = setup.asks(&server.url(), &[])["bytes"]["keys"].as_u64().unwrap();
        assert!(0 < sent && sent < keys.len() as u64, "{sent} of {} again", keys.len());
        server.lives();
    }
}

#[test]
fn a_client_killed_within_a_batch_leaves_nothing_behind() {
    let setup = Setup::batch();
    let mut server = Server::start(&setup, &["small.hec"]);
    setup.asks(&server.url(), &[]);
    let proxy = Proxy::start(server.address, Trouble { stall_after: Some(100_000), ..Trouble::default() });
    let url = proxy.url();
    let mut client = setup.command(&setup.query(&url, &["--way", "stream"]));
    let mut client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("a part of the batch", || proxy.passed() >= 100_000);
    wait_for("a request", || server.counter("hec_requests_inside") == 1);
    client.kill().unwrap();
    client.wait().unwrap();
    proxy.calm();
    server.is_idle();
    setup.asks(&server.url(), &["--way", "stream"]);
    server.lives();
}

#[test]
fn a_cut_connection_is_made_again() {
    let setup = Setup::packed();
    let server = Server::start(&setup, &["small.hec", "--keys", "store"]);
    for limit in [20_000, 200_000, 700_000] {
        let proxy = Proxy::start(server.address, Trouble { cut_after: Some(limit), ..Trouble::default() });
        setup.asks(&proxy.url(), &["--way", "stream"]);
        let _ = fs::remove_dir_all(setup.path("store"));
        fs::create_dir(setup.path("store")).unwrap();
    }
    server.is_idle();
}

#[test]
fn changed_bits_are_found() {
    let setup = Setup::batch();
    let mut server = Server::start(&setup, &["small.hec"]);
    // A checksum finds it in a ciphertext; in a frame the transport does, and the batch is sent again.
    let mut found = 0;
    for at in [30_000, 50_000, 80_001, 120_000, 150_002] {
        let proxy = Proxy::start(server.address, Trouble { flip_at: Some(at), ..Trouble::default() });
        let url = proxy.url();
        let output = setup.command(&setup.query(&url, &["--way", "stream", "--timeout", "20"])).output().unwrap();
        if output.status.success() {
            setup.compare();
        } else {
            let error = String::from_utf8(output.stderr).unwrap();
            found += usize::from(error.contains("checksum"));
        }
    }
    assert!(found >= 3, "{found} of 5");
    server.lives();
    setup.asks(&server.url(), &[]);
    server.is_idle();
}

#[test]
fn a_server_killed_and_started_again_answers() {
    let setup = Setup::packed();
    let server = Server::start(&setup, &["small.hec", "--keys", "store"]);
    let address = server.address.to_string();
    let proxy = Proxy::start(server.address, Trouble { stall_after: Some(300_000), ..Trouble::default() });
    let url = proxy.url();
    let client = setup.command(&setup.query(&url, &["--way", "stream"]));
    let mut client = { client }.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("a part of a request", || proxy.passed() >= 300_000);
    // Without a word.
    drop(server);
    proxy.calm();
    std::thread::sleep(Duration::from_millis(500));
    let server = Server::at(&setup, &address, &["small.hec", "--keys", "store"]);
    wait_for("the answer", || client.try_wait().unwrap().is_some());
    assert!(client.wait().unwrap().success());
    setup.compare();
    server.is_idle();
}

/// The client is gone when the server asks it in the middle of a run.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_answer_in_the_middle_frees_its_place() {
    use hec_protocol::encrypted::evaluate_response::Message as Down;
    use hec_protocol::encrypted::{Ciphertexts, End, Refreshed};
    let setup = Setup::aided("batch");
    let mut server = Server::start(&setup, &["small.hec", "--concurrent", "1", "--idle", "2"]);
    setup.asks(&server.url(), &[]);
    let mut file = Vec::new();
    let contract = setup.contract();
    hec_client::files::encrypt(&contract, &setup.key("keys"), &setup.samples(), &mut file).unwrap();
    let mut reader = hec_protocol::ciphertexts::Reader::new(&file[..]).unwrap();
    let ciphertexts = (0..4).map(|_| reader.ciphertext(1 << 24).unwrap().into()).collect();
    let open = Open {
        model: "small".to_owned(),
        program: contract.program().to_vec().into(),
        key: fingerprint(&setup.keys()).0.to_vec().into(),
        samples: 3,
    };
    let begin =
        [Up::Open(open), Up::Inputs(Ciphertexts { array: 0, request: 0, first: 0, ciphertexts }), Up::End(End {})];
    // It is asked, and then: says nothing; answers too early; says it is done; sends what was not asked for.
    let nothing = Up::Refreshed(Ciphertexts { array: 9, request: 1, first: 0, ciphertexts: vec![vec![0].into()] });
    let answers = [vec![], vec![Up::End(End {})], vec![Up::Done(Refreshed { request: 1 })], vec![nothing]];
    for (case, answer) in answers.into_iter().enumerate() {
        let messages = begin.iter().cloned().chain(answer);
        let messages: Vec<_> = messages.map(|message| EvaluateRequest { message: Some(message) }).collect();
        let messages = tokio_stream::iter(messages).chain(tokio_stream::pending());
        let mut client = server.encrypted().await;
        let mut answers = client.evaluate(messages).await.unwrap().into_inner();
        let status = loop {
            match answers.message().await {
                Ok(Some(answer)) => assert!(!matches!(answer.message, Some(Down::Done(_)))),
                Ok(None) => panic!("no end"),
                Err(status) => break status,
            }
        };
        let expected = if case == 0 { Code::DeadlineExceeded } else { Code::InvalidArgument };
        assert_eq!(status.code(), expected, "case {case}: {status}");
    }
    server.is_idle();
    server.lives();
    setup.asks(&server.url(), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_given_up_and_a_slow_one_is_not_in_the_way() {
    let setup = Setup::batch();
    let server = Server::start(&setup, &["small.hec", "--idle", "1", "--concurrent", "1"]);
    setup.asks(&server.url(), &[]);
    // It opens a request, and says no more.
    let open = Open {
        model: "small".to_owned(),
        program: setup.contract().program().to_vec().into(),
        key: fingerprint(&setup.keys()).0.to_vec().into(),
        samples: 1,
    };
    let messages =
        tokio_stream::iter([EvaluateRequest { message: Some(Up::Open(open)) }]).chain(tokio_stream::pending());
    let start = Instant::now();
    let mut client = server.encrypted().await;
    let mut answers = client.evaluate(messages).await.unwrap().into_inner();
    let status = answers.message().await.expect_err("given up");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(start.elapsed() < Duration::from_secs(20));
    server.is_idle();
    // While a slow one sends, others are answered.
    let proxy = Proxy::start(server.address, Trouble { rate: Some(60_000), ..Trouble::default() });
    let url = proxy.url();
    let own = ["--client", "small.hecclient", "--key", "keys/secret.heckey", "--input", "x.csv", "--way", "stream"];
    let mut slow = setup.command(&[&["query", "--server", &url][..], &own].concat());
    let mut slow = slow.stdout(Stdio::null()).spawn().unwrap();
    wait_for("the slow one", || server.counter("hec_requests_inside") == 1);
    for _ in 0..3 {
        setup.asks(&server.url(), &[]);
    }
    assert!(slow.try_wait().unwrap().is_none(), "it was not slow");
    slow.kill().unwrap();
    slow.wait().unwrap();
    server.is_idle();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_end_at_their_deadline() {
    let setup = Setup::batch();
    let server = Server::start(&setup, &["small.hec", "--deadline", "1"]);
    let proxy = Proxy::start(server.address, Trouble { rate: Some(20_000), ..Trouble::default() });
    let mut client = server.encrypted().await;
    let status = KeyStatusRequest { fingerprint: vec![0; 31].into() };
    assert_eq!(client.key_status(status).await.unwrap_err().code(), Code::InvalidArgument);
    setup.asks(&server.url(), &[]);
    let error = setup.error(&setup.query(&proxy.url(), &["--way", "stream"]));
    assert!(error.contains("longer than the server allows"), "{error}");
    server.is_idle();
}

/// A disk that is full: a small one of its own where that can be had, and always a small budget.
#[test]
fn keys_beyond_the_disk_are_refused_with_clear_words() {
    let setup = Setup::packed();
    let total = setup.keys().len() as u64;
    let budget = (total - 1).to_string();
    let mut server = Server::start(&setup, &["small.hec", "--keys", "store", "--keys-disk", &budget]);
    let error = setup.error(&setup.query(&server.url(), &["--timeout", "2"]));
    assert!(error.contains("bytes of keys, and all together may have"), "{error}");
    server.lives();
    drop(server);

    fs::create_dir(setup.path("full")).unwrap();
    let size = format!("size={}", total / 2);
    let mount = |arguments: &[&str]| {
        let mut mount = std::process::Command::new(arguments[0]);
        mount.args(&arguments[1..]).current_dir(setup.folder.path()).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success())
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", "full"]) {
        return;
    }
    let mut server = Server::start(&setup, &["small.hec", "--keys", "full"]);
    let error = setup.error(&setup.query(&server.url(), &["--timeout", "2"]));
    // The server clears up after it has said so.
    wait_for("an empty disk", || fs::read_dir(setup.path("full")).unwrap().count() == 0);
    server.lives();
    drop(server);
    assert!(mount(&["umount", "full"]));
    assert!(error.contains("the disk for keys is full"), "{error}");
}
