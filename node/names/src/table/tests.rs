use super::*;

const HOME: NetworkId = network(1);
const LAB: NetworkId = network(2);

const fn network(number: u32) -> NetworkId {
    NetworkId::new(node(0x12_3456_7890), number).expect("a valid id")
}

const fn node(value: u64) -> NodeId {
    NodeId::new(value).expect("a valid address")
}

pub(crate) fn errand(container: &str) -> Errand {
    Errand {
        network: HOME,
        node: node(2),
        container: container.to_owned(),
    }
}

fn member(value: u64, name: &str, address: &str, prefix: &str) -> Member {
    Member {
        node: node(value),
        name: name.to_owned(),
        addresses: vec![ip(address)],
        prefixes: vec![prefix.parse().expect("a prefix")],
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn zone(network: NetworkId, name: &str, members: Vec<Member>) -> Zone {
    Zone {
        network,
        name: name.to_owned(),
        me: node(1),
        members,
    }
}

fn home() -> Zone {
    let members = vec![
        member(1, "h1", "172.27.0.1", "10.1.0.0/24"),
        member(2, "H2", "172.27.0.2", "10.2.0.0/24"),
        member(3, "twin", "172.27.0.3", "10.3.0.0/24"),
        member(4, "TWIN", "172.27.0.4", "10.4.0.0/24"),
        member(5, "no label", "172.27.0.5", "10.5.0.0/24"),
        // Somebody who would like to be taken for the second.
        member(6, "0000000002", "172.27.0.6", "10.6.0.0/24"),
    ];
    zone(HOME, "Home", members)
}

fn lab() -> Zone {
    let members = vec![member(1, "h1", "172.28.0.1", "10.9.0.0/24")];
    zone(LAB, "lab", members)
}

fn table() -> Table {
    let container = |name: &str, addresses: &[&str]| Container {
        name: name.to_owned(),
        addresses: addresses.iter().copied().map(ip).collect(),
    };
    let containers = [
        container("Web", &["10.1.0.2", "172.17.0.2"]),
        container("db.1", &["10.1.0.3", "10.9.0.3"]),
        container("private", &["172.17.0.3"]),
        container("pair", &["10.1.0.4"]),
        container("PAIR", &["10.1.0.5"]),
    ];
    Table::new(vec![home(), lab()], &containers)
}

fn decide(table: &Table, asker: Asker, name: &str) -> Verdict {
    let labels: Vec<_> = name.split('.').map(str::to_owned).collect();
    table.decide(asker, &labels)
}

fn found(addresses: &[&str]) -> Verdict {
    let addresses = addresses.iter().copied().map(ip).collect();
    Verdict::Answer(Answer::Addresses(addresses))
}

const UNKNOWN: Verdict = Verdict::Answer(Answer::NoSuchName);
const REFUSED: Verdict = Verdict::Answer(Answer::Refused);

#[test]
fn members_and_containers_have_names_and_ids_always_work() {
    let table = table();
    let said = |name: &str| decide(&table, Asker::Host, name);

    assert_eq!(said("h1.home"), found(&["172.27.0.1"]));
    assert_eq!(said("h2.home"), found(&["172.27.0.2"]));
    assert_eq!(said("h1.lab"), found(&["172.28.0.1"]));
    assert_eq!(said(&format!("h2.{HOME}")), found(&["172.27.0.2"]));
    assert_eq!(said("0000000002.home"), found(&["172.27.0.2"]));
    assert_eq!(said("0000000005.home"), found(&["172.27.0.5"]));
    assert_eq!(said("home"), found(&[]));
    assert_eq!(said("web.h1.home"), found(&["10.1.0.2"]));
    assert_eq!(said("db.1.h1.home"), found(&["10.1.0.3"]));
    assert_eq!(said("db.1.h1.lab"), found(&["10.9.0.3"]));
    assert_eq!(said("web.h2.home"), Verdict::Ask(errand("web")));
    assert_eq!(
        table.target(&errand("web")).map(|to| to.node),
        Some(node(2))
    );
}

#[test]
fn what_is_unknown_ambiguous_or_not_in_the_overlay_does_not_exist() {
    let table = table();
    for name in [
        "h9.home",
        "twin.home",
        "no label.home",
        "web.h9.home",
        "web.h1.lab",
        "private.h1.home",
        "pair.h1.home",
    ] {
        assert_eq!(decide(&table, Asker::Host, name), UNKNOWN, "{name}");
    }
}

#[test]
fn the_rest_of_the_world_is_asked_elsewhere() {
    let table = table();
    for name in ["example.org", "home.example", "localhost"] {
        assert_eq!(
            decide(&table, Asker::Host, name),
            Verdict::Forward,
            "{name}"
        );
        assert_eq!(
            decide(&table, Asker::Container(HOME), name),
            Verdict::Forward
        );
        assert_eq!(decide(&table, Asker::Member(HOME), name), REFUSED, "{name}");
    }
    assert_eq!(table.decide(Asker::Host, &[]), Verdict::Forward);
}

#[test]
fn who_asks_is_told_by_the_source() {
    let table = table();
    let asker = |source| table.asker(ip(source));

    assert_eq!(asker("172.27.0.1"), Some(Asker::Host));
    assert_eq!(asker("172.28.0.1"), Some(Asker::Host));
    assert_eq!(asker("10.1.0.77"), Some(Asker::Container(HOME)));
    assert_eq!(asker("10.9.0.77"), Some(Asker::Container(LAB)));
    assert_eq!(asker("172.27.0.2"), Some(Asker::Member(HOME)));
    assert_eq!(asker("10.2.0.7"), None, "a container of another member");
    assert_eq!(asker("192.0.2.1"), None);
}

#[test]
fn containers_see_their_network_and_members_this_host_alone() {
    let table = table();
    let (inside, outside) = (Asker::Container(HOME), Asker::Member(HOME));

    assert_eq!(
        decide(&table, inside, "web.h2.home"),
        Verdict::Ask(errand("web"))
    );
    assert_eq!(decide(&table, inside, "db.1.h1.lab"), REFUSED);
    assert_eq!(decide(&table, outside, "web.h1.home"), found(&["10.1.0.2"]));
    assert_eq!(decide(&table, outside, "none.h1.home"), UNKNOWN);
    assert_eq!(decide(&table, outside, "db.1.h1.lab"), REFUSED);
    assert_eq!(decide(&table, outside, "web.h2.home"), REFUSED, "one hop");
}

#[test]
fn networks_of_one_name_or_of_a_name_of_the_world_go_by_their_ids() {
    let mut other = lab();
    other.name = "HOME".to_owned();
    let table = Table::new(vec![home(), other], &[]);
    assert_eq!(decide(&table, Asker::Host, "h2.home"), UNKNOWN);
    assert_eq!(
        decide(&table, Asker::Host, &format!("h1.{LAB}")),
        found(&["172.28.0.1"])
    );
    assert_eq!(table.problems().len(), 1);

    for name in ["com", "de", "my network", ""] {
        let mut zone = lab();
        zone.name = name.to_owned();
        let table = Table::new(vec![zone], &[]);
        assert_eq!(
            decide(&table, Asker::Host, &format!("h1.{name}")),
            Verdict::Forward
        );
        assert_eq!(
            decide(&table, Asker::Host, &format!("h1.{LAB}")),
            found(&["172.28.0.1"])
        );
        assert_eq!(table.problems().len(), 1, "{name}");
    }
}
