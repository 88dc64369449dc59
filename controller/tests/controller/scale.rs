//! A network of ten thousand members in the panel.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use serde_json::json;
use tombolo_controller::store::{Actor, Commit, Deed, Store, Trace};
use tombolo_domain::{
    change::Change,
    member::{Member, MemberState},
};
use tombolo_proto::{
    id::{Epoch, NetworkId, NodeId, Revision, UnixSeconds},
    key::{IdentityKey, TransportKey},
};

use crate::{rig::Rig, visitor::Visitor};

const MEMBERS: u32 = 10_000;
/// For the first page of a network, at the server.
const PROMISE: Duration = Duration::from_millis(200);
/// Pages of which the median is taken.
const PAGES: usize = 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_page_of_a_large_network_comes_at_once() {
    let rig = Rig::start().await;
    let network = rig
        .network(json!({"name": "large", "v4": "172.27.0.0/16"}))
        .await
        .id;
    fill(&rig, network).await;
    let mut alice = Visitor::administrator(&rig).await;
    // Nothing is in memory yet.
    let rig = rig.restart().await;
    alice.move_to(rig.controller.http());

    let started = Instant::now();
    let page = alice.get(&format!("/networks/{network}")).await;
    let first = started.elapsed();

    page.expect(200, "host-");
    let rows = page.body.matches("name=\"node\"").count();
    let mut took = Vec::new();
    for _ in 0..PAGES {
        let started = Instant::now();
        alice.get(&format!("/networks/{network}")).await;
        took.push(started.elapsed());
    }
    took.sort();
    let median = took[PAGES / 2];
    let started = Instant::now();
    let networks = alice.get("/").await;
    let cards = started.elapsed();
    networks.expect(200, "large");
    println!(
        "figure: panel, network of {MEMBERS}: {median:?} (promise {PROMISE:?}), the first after a start {first:?}; {rows} rows, {} KiB; page of networks {cards:?}",
        page.body.len() / 1024
    );
    assert!(page.body.len() < 512 * 1024, "the table comes in pages");
    assert!(median < 5 * PROMISE, "{took:?}");
    assert!(cards < 5 * PROMISE, "{cards:?}");
    let found = alice.get(&format!("/networks/{network}?q=host-9999")).await;
    found.expect(200, "host-9999");
}

/// Members that no node is behind, written as another replica would write them.
async fn fill(rig: &Rig, network: NetworkId) {
    let url = rig.store_url().parse().expect("the URL of a store");
    let store = Store::open(&url).await.expect("the store opens");
    let loaded = store.load(network).await.expect("it answers");
    let loaded = loaded.expect("the network is there");
    let changes: Vec<Change> = (1..=MEMBERS)
        .map(|number| Change::MemberPut(a_member(number)))
        .collect();
    let after = loaded.network.apply(&changes);
    let deed = Deed {
        token: None,
        actor: &Actor::Controller,
        action: "test.fill",
        subject: "",
        trace: &Trace::default(),
    };
    let commit = Commit {
        after: &after,
        epoch: Epoch(0),
        expected: Some(loaded.sequence),
        changes: &changes,
        documents: &[],
        deeds: &[deed],
        event: "changed",
        answer: None,
    };
    store.commit(commit).await.expect("it is written");
}

fn a_member(number: u32) -> Member {
    let mut identity = [0; 32];
    identity[28..].copy_from_slice(&number.to_be_bytes());
    let now = UnixSeconds(1_800_000_000);
    Member {
        identity: IdentityKey(identity),
        node: NodeId::new(0x10_0000_0000 + u64::from(number)).expect("an address"),
        name: format!("host-{number}").parse().expect("a name"),
        transport: TransportKey(identity),
        transport_epoch: 0,
        state: MemberState::Authorized,
        addresses: [Ipv4Addr::from_bits(0xac1b_0100 + number)].into(),
        tags: ["web".to_owned()].into(),
        relay: true,
        serial: Revision(2),
        issued_at: now,
        not_after: UnixSeconds(now.0 + 90 * 24 * 3600),
    }
}
