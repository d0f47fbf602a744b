//! A connection in the middle that can be slow, stop, break, or change bits.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What happens to the bytes from clients to the server.
#[derive(Clone, Copy, Default)]
pub struct Trouble {
    /// Nothing more goes through after so many bytes of all connections together, but connections stay open.
    pub stall_after: Option<u64>,
    /// The connection is cut after so many bytes, the first time.
    pub cut_after: Option<u64>,
    /// One bit is changed in this byte, once.
    pub flip_at: Option<u64>,
    /// Bytes a second.
    pub rate: Option<u64>,
}

pub struct Proxy {
    pub address: SocketAddr,
    passed: Arc<AtomicU64>,
    calm: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(server: SocketAddr, trouble: Trouble) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (passed, calm) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, quiet) = (passed.clone(), calm.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // The server may be away.
                let Ok(server) = TcpStream::connect(server) else { continue };
                let (back, answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    let (mut from, mut to) = (answers, back);
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                let (count, quiet) = (count.clone(), quiet.clone());
                std::thread::spawn(move || forward(client, server, trouble, &count, &quiet));
            }
        });
        Self { address, passed, calm }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that went through to the server.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// No more trouble for new connections.
    pub fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }
}

fn forward(mut client: TcpStream, mut server: TcpStream, trouble: Trouble, passed: &AtomicU64, calm: &AtomicBool) {
    let trouble = if calm.load(Ordering::Relaxed) { Trouble::default() } else { trouble };
    let mut buffer = vec![0; if trouble.rate.is_some() { 1024 } else { 16 << 10 }];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        let before = passed.load(Ordering::Relaxed);
        let bytes = &mut buffer[..read];
        if trouble.stall_after.is_some_and(|limit| before >= limit) {
            while !calm.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            }
            break;
        }
        if trouble.cut_after.is_some_and(|limit| before >= limit) && !calm.swap(true, Ordering::Relaxed) {
            break;
        }
        if let Some(at) = trouble.flip_at.filter(|at| (before..before + read as u64).contains(at)) {
            bytes[(at - before) as usize] ^= 0x10;
        }
        if let Some(rate) = trouble.rate {
            std::thread::sleep(Duration::from_secs_f64(read as f64 / rate as f64));
        }
        passed.fetch_add(read as u64, Ordering::Relaxed);
        if server.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
