//! Many open panels while servers join: each hears of each, soon.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::Notify,
    task::JoinSet,
};
use tombolo_proto::{api, control::ToController};

use crate::{
    node::Node,
    rig::{Rig, a_seed},
    visitor::Visitor,
};

/// Panels that are open.
const PANELS: usize = 100;
/// Servers that ask to join, all at once: as many as one address may have waiting.
const JOINS: usize = tombolo_domain::decide::MAX_REQUESTS_PER_SOURCE;
/// Until everybody has heard of everybody.
const PROMISE: Duration = Duration::from_secs(1);

/// Servers that join in a second while panels are open.
const RATE: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_open_panels_hear_of_every_server_that_joins() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let alice = Visitor::administrator(&rig).await;
    let heard = Arc::new(Heard::default());
    let panels = open_panels(&rig, &alice, &heard).await;
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
    let requests = heard.all(|panel| panel.requests > 0);
    tokio::time::timeout(5 * PROMISE, requests)
        .await
        .expect("every panel hears of it");
    let took = started.elapsed();

    println!(
        "figure: {PANELS} open panels hear of {JOINS} servers that join at once: {took:?} (promise {PROMISE:?})"
    );
    let page = alice.clone().get(&format!("/networks/{network}")).await;
    page.expect(200, &format!("{JOINS} waiting"));
    drop(panels);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_open_panels_keep_up_with_two_hundred_joins_a_second() {
    // A second of them, or a part of it.
    let is_full = std::env::var_os("TOMBOLO_TEST_FULL").is_some();
    let joins = if is_full { RATE } else { RATE / 4 };
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let path = format!("/networks/{network}");
    let token: api::CreatedToken = rig
        .http
        .post(&format!("{path}/join-tokens"), json!({"uses": joins}))
        .await
        .expect_status(201);
    let alice = Visitor::administrator(&rig).await;
    let heard = Arc::new(Heard::default());
    let panels = open_panels(&rig, &alice, &heard).await;
    // The search for keys and the first handshakes take longer than anything else here.
    let mut searching = JoinSet::new();
    for _ in 0..joins {
        searching.spawn_blocking(a_seed);
    }
    let seeds = searching.join_all().await;
    let (control, replica) = (rig.controller.control(), rig.replica());
    let connected = stream::iter(seeds).map(|seed| async move {
        let mut node = Node::connect(control, seed, replica).await;
        // Who is silent after the hello is sent away.
        node.say(&ToController::Unsupported { variant: u32::MAX })
            .await;
        node
    });
    let nodes: Vec<Node> = connected.buffer_unordered(8).collect().await;

    let started = Instant::now();
    let mut beat = tokio::time::interval(Duration::from_secs(1) / RATE as u32);
    let mut joining = JoinSet::new();
    for mut node in nodes {
        beat.tick().await;
        let token = token.token.clone();
        joining.spawn(async move {
            node.join(network, Some(&token)).await;
            node.expect_member(network).await;
            node
        });
    }
    let nodes = joining.join_all().await;
    let (joined, all_joined) = (started.elapsed(), Instant::now());
    let last: api::Network = rig.http.get(&path).await.expect_status(200);
    let behind = last.revision;
    tokio::time::timeout(5 * PROMISE, heard.all(|panel| panel.revision >= behind))
        .await
        .expect("every panel hears of the last join");
    let lag = all_joined.elapsed();

    let events = heard.count(|panel| panel.events);
    let lagged = heard.count(|panel| panel.lagged);
    println!(
        "figure: {PANELS} open panels while {joins} servers join: {:.0} joins/s, {events} events to panels ({lagged} told to read again), the last panel hears of the last join {lag:?} after it (promise {PROMISE:?})",
        joins as f64 / joined.as_secs_f64()
    );
    let page = alice.clone().get(&path).await;
    page.expect(200, &nodes.len().to_string());
    drop(panels);
}

/// Opens panels that listen until they are dropped.
async fn open_panels(rig: &Rig, alice: &Visitor, heard: &Arc<Heard>) -> JoinSet<()> {
    let cookie = &alice.cookies["tombolo_session"];
    let mut panels = JoinSet::new();
    for number in 0..PANELS {
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
        let heard = Arc::clone(heard);
        panels.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                heard.line(number, &line);
            }
        });
    }
    panels
}

/// What each panel heard.
struct Heard {
    panels: Mutex<Vec<Panel>>,
    more: Notify,
}

#[derive(Default, Clone)]
struct Panel {
    events: usize,
    requests: usize,
    lagged: usize,
    revision: u64,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            panels: Mutex::new(vec![Panel::default(); PANELS]),
            more: Notify::new(),
        }
    }
}

impl Heard {
    fn line(&self, number: usize, line: &str) {
        let mut panels = self.panels.lock().expect("nobody panicked");
        let panel = &mut panels[number];
        match line.split_once(": ") {
            Some(("event", kind)) => {
                panel.events += 1;
                panel.requests += usize::from(kind == "requests");
                panel.lagged += usize::from(kind == "lagged");
            }
            Some(("data", data)) => {
                let event: serde_json::Value = serde_json::from_str(data).expect("an event");
                let revision = event["revision"].as_u64().unwrap_or_default();
                panel.revision = panel.revision.max(revision);
            }
            _ => return,
        }
        self.more.notify_one();
    }

    fn count(&self, of: impl Fn(&Panel) -> usize) -> usize {
        let panels = self.panels.lock().expect("nobody panicked");
        panels.iter().map(of).sum()
    }

    async fn all(&self, is_so: impl Fn(&Panel) -> bool) {
        while self.count(|panel| usize::from(is_so(panel))) < PANELS {
            self.more.notified().await;
        }
    }
}
