//! Many at once.

use std::fs;
use std::process::Stdio;

use crate::harness::{Server, Setup, wait_for};
use crate::proxy::{Proxy, Trouble};

/// 50 clients with a key each, on a server that evaluates two at a time and lets eight wait: all are answered, and it never holds more
/// than its limits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_clients_are_answered_each() {
    let setup = Setup::packed();
    let bytes = setup.keys().len() as u64;
    // Room for the expanded keys of ten clients.
    let (keys, disk) = ((bytes * 30).to_string(), (bytes * 100).to_string());
    let limits = ["--concurrent", "2", "--queue", "8", "--per-client", "64", "--keys-per-client", "64"];
    let store = ["small.hec", "--keys", "store", "--keys-memory", &keys, "--keys-disk", &disk, "--memory", "256MiB"];
    let mut server = Server::start(&setup, &[&store[..], &limits, &["--max-message", "32MiB"]].concat());
    for i in 0..5 {
        setup.hec(&["keygen", "--client", "small.hecclient", "-o", &format!("keys{i}")]);
    }
    let expected = setup.client(&server.url(), setup.key("keys"), setup.path("keys/evaluation.heckeys"));
    let (expected, _) = expected.infer(setup.samples(), &()).await.unwrap();
    let mut tasks = Vec::new();
    for i in 0..50 {
        let folder = format!("keys{}", i % 5);
        let client = setup.client(&server.url(), setup.key(&folder), setup.path(&folder).join("evaluation.heckeys"));
        let samples = setup.samples();
        tasks.push(tokio::spawn(async move { client.infer(samples, &()).await }));
    }
    let mut retries = 0;
    for task in tasks {
        let (answers, traffic) = task.await.unwrap().unwrap();
        for (found, expected) in answers.outputs["y"].iter().zip(&expected.outputs["y"]) {
            assert!((found - expected).abs() < 0.01, "{found} {expected}");
        }
        retries += traffic.retries;
    }
    assert!(retries > 0, "nobody was refused: the queue was not full");
    // One sample is a batch, and nothing was evaluated twice.
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("hec_evaluation_seconds_count{model=\"small\"} 153"), "{metrics}");
    assert!(server.counter("hec_keys_in_memory_bytes") <= bytes * 30);
    let peak = server.peak_memory();
    assert!(peak < 256 << 20, "{peak} bytes");
    server.is_idle();
    server.lives();
    assert_eq!(fs::read_dir(setup.path("store")).unwrap().count(), 6);
}

#[test]
fn who_waits_for_its_client_lets_others_evaluate() {
    let setup = Setup::aided("batch");
    let mut server = Server::start(&setup, &["small.hec", "--concurrent", "1"]);
    // With the keys there, all queries send as much.
    setup.asks(&server.url(), &[]);
    let counted = Proxy::start(server.address, Trouble::default());
    let report = setup.asks(&counted.url(), &[]);
    let answer = report["bytes"]["rounds_up"].as_u64().unwrap();
    // All of the inputs go through, and half of what the client sends back.
    let limit = counted.passed() - answer / 2;
    let proxy = Proxy::start(server.address, Trouble { stall_after: Some(limit), ..Trouble::default() });
    let url = proxy.url();
    let mut slow = setup.command(&setup.query(&url, &[]));
    let mut slow = slow.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("half of an answer", || proxy.passed() >= limit);
    setup.asks(&server.url(), &[]);
    assert_eq!(server.counter("hec_requests_inside"), 1, "the slow one is still there");
    slow.kill().unwrap();
    slow.wait().unwrap();
    proxy.calm();
    server.is_idle();
    server.lives();
}
