//! What one replica knows of what another one did.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use sqlx::{AnyConnection, Connection as _};
use tombolo_controller::store::{Commit, Loaded, Store};
use tombolo_domain::{
    change::Change,
    command::{Author, Command, MemberPatch, RouteWish, SettingsPatch},
    decide::decide,
    managed_route::RouteId,
    member::Request,
    network::Network,
    settings::Settings,
};
use tombolo_proto::{
    api,
    config::RouteMode,
    id::{Epoch, NetworkId, NodeId, UnixSeconds},
    key::{IdentityKey, TransportKey},
};

use crate::cluster::{Cluster, count};

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_what_changed_knows_what_it_would_know_by_reading_everything() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let (store, id) = a_store(&cluster).await;
    let mut random = StdRng::seed_from_u64(7);
    let mut known = load(&store, id).await;
    for step in 0..count(300, 2000) {
        let before = load(&store, id).await;
        let command = a_command(&before.network, &mut random);
        let Ok(changes) = decide(command, &before.network, NOW) else {
            continue;
        };
        write(&store, &before, &changes).await;
        // Now and then it misses a few.
        if random.random_bool(0.4) {
            known = again(&store, &known).await;
            assert_eq!(
                contents(&known),
                contents(&load(&store, id).await),
                "{step}"
            );
        }
    }
    assert!(known.network.members().count() > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_is_read_unless_somebody_did_not_note_it() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let (store, id) = a_store(&cluster).await;
    for number in 1..=3 {
        join(&store, id, number).await;
    }
    let known = load(&store, id).await;
    sqlx::any::install_default_drivers();
    let mut behind = AnyConnection::connect(&cluster.url)
        .await
        .expect("a connection");
    let names = |loaded: &Loaded| {
        let names = loaded.network.members();
        names
            .map(|member| member.name.to_string())
            .collect::<Vec<_>>()
    };

    // What no controller does: nobody is to find it who reads what changed.
    let mut tamper = async |statement: &'static str| {
        sqlx::query(statement)
            .execute(&mut behind)
            .await
            .expect("it can be executed");
    };
    tamper("UPDATE members SET name = 'altered', name_key = 'altered' WHERE name = 'host-2'").await;
    join(&store, id, 4).await;
    let followed = again(&store, &known).await;
    join(&store, id, 5).await;
    tamper("DELETE FROM changed").await;
    let whole = again(&store, &followed).await;

    assert_eq!(names(&followed), ["host-1", "host-2", "host-3", "host-4"]);
    assert_eq!(
        names(&whole),
        ["host-1", "altered", "host-3", "host-4", "host-5"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_connection_was_taken_over_by_a_newer_one_is_not_reported_gone() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.admitted().await;
    let network = cluster.first.home().await.id;
    let mut node = cluster.first.node().await;
    node.join(network, None).await;
    node.expect_pending(network).await;
    let path = format!("/networks/{network}/members/{}", node.address);
    let authorize = serde_json::json!({"authorized": true});
    let _: api::Member = cluster
        .first
        .http
        .patch(&path, authorize)
        .await
        .expect_status(200);
    second
        .until(&path, |status, member| {
            status == 200 && member["online"] == true
        })
        .await;

    let mut newer = cluster.first.node_with(node.seed.clone()).await;
    newer.join(network, None).await;
    newer.expect_member(network).await;
    // It is closed after its end was reported.
    assert_eq!(node.closed().await, 4);

    let member: api::Member = second.http.get(&path).await.expect_status(200);
    assert!(member.online);
}

async fn a_store(cluster: &Cluster) -> (Store, NetworkId) {
    let store = Store::open(&cluster.url.parse().expect("the URL of a store"))
        .await
        .expect("it opens");
    let id = cluster.first.home().await.id;
    (store, id)
}

async fn load(store: &Store, id: NetworkId) -> Loaded {
    let loaded = store.load(id).await.expect("the store answers");
    loaded.expect("the network is there")
}

async fn again(store: &Store, known: &Loaded) -> Loaded {
    let loaded = store.load_again(known).await.expect("the store answers");
    loaded.expect("the network is there")
}

async fn write(store: &Store, before: &Loaded, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    let after = before.network.apply(changes);
    let commit = Commit {
        after: &after,
        epoch: Epoch(0),
        expected: Some(before.sequence),
        changes,
        documents: &[],
        deeds: &[],
        event: "changed",
        answer: None,
    };
    store.commit(commit).await.expect("nobody else writes");
}

async fn join(store: &Store, id: NetworkId, number: u8) {
    let before = load(store, id).await;
    let changes = decide(joining(number, true), &before.network, NOW).expect("it may join");
    write(store, &before, &changes).await;
}

fn joining(number: u8, granted: bool) -> Command {
    Command::Join {
        request: Request {
            identity: IdentityKey([number; 32]),
            node: NodeId::new(0x10_0000_0000 + u64::from(number)).expect("an address"),
            name: format!("host-{number}").parse().expect("a name"),
            transport: TransportKey([number; 32]),
            transport_epoch: 0,
            source: [192, 0, 2, number].into(),
            requested_at: NOW,
        },
        granted,
    }
}

fn a_command(network: &Network, random: &mut StdRng) -> Command {
    let somebody = IdentityKey([random.random_range(1..30); 32]);
    let routes: Vec<RouteId> = network.routes().map(|route| route.id).collect();
    match random.random_range(0..8) {
        0..3 => joining(somebody.0[0], random.random_bool(0.7)),
        3 => Command::RemoveMember(somebody),
        4 => Command::UpdateMember {
            identity: somebody,
            patch: MemberPatch {
                authorized: Some(random.random_bool(0.6)),
                name: Some(
                    format!("name-{}", random.random_range(0..40))
                        .parse()
                        .expect("a name"),
                ),
                ..MemberPatch::default()
            },
        },
        5 => Command::Configure(SettingsPatch {
            private: Some(random.random_bool(0.5)),
            ..SettingsPatch::default()
        }),
        6 if !routes.is_empty() => {
            Command::RemoveRoute(*routes.choose(random).expect("there are some"))
        }
        _ => Command::AddRoute(RouteWish {
            id: RouteId(random.random()),
            target: format!("10.{}.0.0/16", random.random_range(0..20))
                .parse()
                .expect("a prefix"),
            via: somebody,
            mode: RouteMode::Failover,
            metric: 10,
            author: Author::Admin,
        }),
    }
}

/// Everything that there is in a network, to be compared.
fn contents(loaded: &Loaded) -> (u64, u64, Settings, Vec<Change>) {
    let network = &loaded.network;
    let members = network.members().cloned().map(Change::MemberPut);
    let requests = network.requests().cloned().map(Change::RequestPut);
    let routes = network.routes().cloned().map(Change::RoutePut);
    (
        loaded.sequence,
        network.revision().0,
        network.settings().clone(),
        members.chain(requests).chain(routes).collect(),
    )
}
