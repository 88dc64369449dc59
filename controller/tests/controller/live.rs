//! Many open panels while servers join: each hears of each, soon.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::Notify,
};

use crate::{rig::Rig, visitor::Visitor};

/// Panels that are open.
const PANELS: usize = 100;
/// Servers that ask to join, all at once: as many as one address may have waiting.
const JOINS: usize = tombolo_domain::decide::MAX_REQUESTS_PER_SOURCE;
/// Until everybody has heard of everybody.
const PROMISE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_open_panels_hear_of_every_server_that_joins() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let alice = Visitor::administrator(&rig).await;
    let cookie = &alice.cookies["tombolo_session"];
    let heard = Arc::new(Heard::default());
    let mut panels = Vec::new();
    for _ in 0..PANELS {
        let mut stream = TcpStream::connect(rig.controller.http())
            .await
            .expect("a connection");
        let request = format!(
            "GET /live HTTP/1.1\r\nHost: {}\r\nCookie: tombolo_session={cookie}\r\n\r\n",
            rig.controller.http()
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next_line().await.expect("an answer");
        assert_eq!(status.as_deref(), Some("HTTP/1.1 200 OK"));
        let heard = Arc::clone(&heard);
        panels.push(tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if line == "event: requests" {
                    heard.one();
                }
            }
        }));
    }
    let mut nodes = Vec::new();
    for _ in 0..JOINS {
        nodes.push(rig.node().await);
    }

    let started = Instant::now();
    for node in &mut nodes {
        node.join(network, None).await;
    }
    for node in &mut nodes {
        node.expect_pending(network).await;
    }
    // Servers that join together may share a change, and then one event tells of them all.
    tokio::time::timeout(5 * PROMISE, heard.reach(PANELS))
        .await
        .expect("every panel hears of it");
    let took = started.elapsed();

    println!(
        "figure: {PANELS} open panels hear of {JOINS} servers that join at once: {took:?} (promise {PROMISE:?})"
    );
    let page = alice.clone().get(&format!("/networks/{network}")).await;
    page.expect(200, &format!("{JOINS} waiting"));
    for panel in panels {
        panel.abort();
    }
}

/// Counts what was heard.
#[derive(Default)]
struct Heard {
    count: AtomicUsize,
    more: Notify,
}

impl Heard {
    fn one(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.more.notify_one();
    }

    async fn reach(&self, count: usize) {
        while self.count.load(Ordering::Relaxed) < count {
            self.more.notified().await;
        }
    }
}
