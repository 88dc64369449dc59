use tombolo_domain::{decide::decide, member::Request, network::Network};
use tombolo_proto::{
    id::{NodeId, UnixSeconds},
    key::TransportKey,
};

use serde_json::json;

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn id() -> NetworkId {
    "8056c2e21c000001".parse().expect("an id")
}

fn fields(json: Value) -> Fields {
    Fields::read(json.to_string().as_bytes()).expect("an object")
}

fn made(json: Value) -> Network {
    let settings = new_network(id(), &fields(json)).expect("a network");
    let blank = Network::new(id(), settings);
    let first = Command::Configure(SettingsPatch::default());
    blank.apply(&decide(first, &blank, NOW).expect("sensible settings"))
}

fn try_post(before: &Network, json: Value) -> Result<Network, ChangeError> {
    let command = network(before, &fields(json))?;
    Ok(before.apply(&decide(command, before, NOW)?))
}

fn posted(before: &Network, json: Value) -> Network {
    try_post(before, json).expect("it is accepted")
}

fn shown(of: &Network) -> Value {
    serde_json::to_value(shape::network(of)).expect("JSON")
}

fn node(who: u8) -> NodeId {
    NodeId::new(0x10_0000_0000 + u64::from(who)).expect("an address")
}

/// A network with the members 1 to 3, who have the addresses 10.147.17.1 to 3; 4 waits.
fn a_network() -> Network {
    let mut network = made(json!({
        "name": "home",
        "v4AssignMode": {"zt": true},
        "v6AssignMode": {"6plane": true, "rfc4193": false, "zt": true},
        "ipAssignmentPools": [{"ipRangeStart": "10.147.17.1", "ipRangeEnd": "10.147.17.254"}],
        "routes": [{"target": "10.147.17.0/24", "via": null}],
    }));
    for who in 1..=4 {
        let request = Request {
            identity: IdentityKey([who; 32]),
            node: node(who),
            name: format!("host-{who}").parse().expect("a name"),
            transport: TransportKey([who + 100; 32]),
            transport_epoch: 0,
            source: Ipv4Addr::new(192, 0, 2, who).into(),
            requested_at: NOW,
        };
        let join = Command::Join {
            request,
            granted: false,
        };
        network = network.apply(&decide(join, &network, NOW).expect("it may ask"));
        if who < 4 {
            let address = format!("10.147.17.{who}/24");
            network = member_posted(
                &network,
                who,
                json!({"authorized": true, "ipAssignments": [address]}),
            );
        }
    }
    network
}

fn member_posted(before: &Network, who: u8, json: Value) -> Network {
    let found = before.by_node(node(who)).expect("it is known");
    let patch = member(before, found, &fields(json)).expect("it makes sense");
    let identity = found.identity();
    let command = Command::UpdateMember { identity, patch };
    before.apply(&decide(command, before, NOW).expect("it is accepted"))
}

#[test]
fn a_new_network_has_what_was_sent_and_else_no_addresses() {
    let bare = shown(&made(json!({})));
    assert_eq!(bare["name"], "network-000001");
    assert_eq!(bare["v4AssignMode"]["zt"], false);
    assert_eq!(
        bare["v6AssignMode"],
        json!({"6plane": false, "rfc4193": false, "zt": false})
    );
    assert_eq!(bare["private"], true);
    assert_eq!(bare["rules"][0]["type"], "ACTION_ACCEPT");

    let whole = shown(&a_network());
    assert_eq!(whole["v4AssignMode"]["zt"], true);
    assert_eq!(whole["v6AssignMode"]["6plane"], true);
    assert_eq!(whole["v6AssignMode"]["zt"], false);
    assert_eq!(
        whole["routes"],
        json!([{"target": "10.147.17.0/24", "via": null}])
    );
    assert_eq!(whole["ipAssignmentPools"][0]["ipRangeEnd"], "10.147.17.254");
    assert_eq!(
        (&whole["id"], &whole["nwid"]),
        (&whole["nwid"], &whole["id"])
    );

    let named = made(json!({"name": "my network", "mtu": 65_000, "private": "false"}));
    assert_eq!(shown(&named)["name"], "my-network");
    assert_eq!(shown(&named)["mtu"], Mtu::MAX.0);
    assert_eq!(shown(&named)["private"], false);
    assert_eq!(
        shown(&made(json!({"name": "网络"})))["name"],
        "network-000001"
    );
}

#[test]
fn whatever_is_shown_can_be_sent_back_and_changes_nothing() {
    let network = posted(
        &a_network(),
        json!({"routes": [
            {"target": "10.147.17.0/24", "via": null},
            {"target": "192.168.7.9/24", "via": "10.147.17.2"},
            {"target": "2001:db8:7::/48", "via": shape_via(&a_network(), 3)},
            {"target": "0.0.0.0/0", "via": "10.147.17.1"},
        ]}),
    );
    assert_eq!(network.routes().count(), 3);

    let again = posted(&network, shown(&network));

    assert_eq!(again.revision(), network.revision());
    for who in 1..=4 {
        let found = network.by_node(node(who)).expect("it is known");
        let json = serde_json::to_value(shape::member(&network, found)).expect("JSON");
        let again = member_posted(&network, who, json);
        assert_eq!(again.revision(), network.revision(), "member {who}");
    }
}

fn shape_via(network: &Network, who: u8) -> String {
    let address = network.automatic_addresses(node(who)).next();
    address.expect("6PLANE is on").to_string()
}

#[test]
fn lists_of_routes_are_replaced_as_a_whole() {
    let network = posted(
        &a_network(),
        json!({"routes": [
            {"target": "10.147.17.0/24"},
            {"target": "192.168.7.0/24", "via": "10.147.17.2"},
            {"target": "192.168.8.0/24", "via": "10.147.17.2"},
            {"nonsense": 1}, "nonsense", {"target": "x/y"},
        ]}),
    );
    let kept = network
        .routes()
        .find(|route| route.target.to_string() == "192.168.8.0/24")
        .expect("it is there")
        .id;

    let after = posted(
        &network,
        json!({"routes": [
            {"target": "10.147.17.0/24", "via": null},
            {"target": "192.168.7.0/24", "via": "10.147.17.3"},
            {"target": "192.168.8.0/24", "via": "10.147.17.2"},
        ]}),
    );

    let behind: Vec<(String, String)> = after
        .routes()
        .map(|route| (route.target.to_string(), after.name_of(&route.via)))
        .collect();
    assert_eq!(behind.len(), 2);
    assert!(behind.contains(&("192.168.7.0/24".into(), "host-3".into())));
    assert!(
        after.route(kept).is_some(),
        "a route that stays is not made anew"
    );
    assert_eq!(posted(&after, json!({"routes": []})).routes().count(), 0);
}

#[test]
fn one_prefix_behind_two_members_fails_over() {
    let network = posted(
        &a_network(),
        json!({"routes": [{"target": "192.168.7.0/24", "via": "10.147.17.2"}]}),
    );

    let after = posted(
        &network,
        json!({"routes": [
            {"target": "192.168.7.0/24", "via": "10.147.17.2"},
            {"target": "192.168.7.0/24", "via": "10.147.17.3"},
        ]}),
    );

    assert_eq!(after.routes().count(), 2);
    assert!(
        after
            .routes()
            .all(|route| route.mode == RouteMode::Failover)
    );
}

#[test]
fn a_route_that_a_member_asked_for_stays_until_it_is_sent_and_then_is_approved() {
    let network = a_network();
    let asked = Command::AddRoute(RouteWish {
        id: RouteId(7),
        target: "192.168.7.0/24".parse().expect("a prefix"),
        via: IdentityKey([2; 32]),
        mode: RouteMode::Single,
        metric: 0,
        author: Author::Member,
    });
    let network = network.apply(&decide(asked, &network, NOW).expect("it may ask"));
    assert_eq!(shown(&network)["routes"].as_array().map(Vec::len), Some(1));

    let untouched = posted(&network, shown(&network));
    let approved = posted(
        &network,
        json!({"routes": [
            {"target": "10.147.17.0/24"}, {"target": "192.168.7.0/24", "via": "10.147.17.2"},
        ]}),
    );

    let state = |of: &Network| of.route(RouteId(7)).map(|route| route.state);
    assert_eq!(state(&untouched), Some(RouteState::Pending));
    assert_eq!(state(&approved), Some(RouteState::Active));
}

#[test]
fn pools_may_be_taken_away_and_change_place_with_their_prefix() {
    let network = made(json!({
        "ipAssignmentPools": [{"ipRangeStart": "10.1.0.1", "ipRangeEnd": "10.1.0.254"}],
        "routes": [{"target": "10.1.0.0/24"}],
    }));
    let off = posted(&network, json!({"v4AssignMode": {}}));
    let moved = posted(
        &network,
        json!({
            "v4AssignMode": {"zt": false},
            "ipAssignmentPools": [
                {"ipRangeStart": "10.241.0.1", "ipRangeEnd": "10.241.0.9"},
                {"ipRangeStart": "fd00::1", "ipRangeEnd": "fd00::ffff"},
            ],
            "routes": [{"target": "10.241.0.0/16"}, {"target": "fd00::/64"}],
        }),
    );

    assert_eq!(shown(&off)["ipAssignmentPools"], json!([]));
    assert_eq!(shown(&off)["routes"][0]["target"], "10.1.0.0/24");
    assert_eq!(
        shown(&moved)["ipAssignmentPools"],
        json!([{"ipRangeStart": "10.241.0.1", "ipRangeEnd": "10.241.0.9"}])
    );
    assert_eq!(
        shown(&moved)["routes"],
        json!([{"target": "10.241.0.0/16", "via": null}])
    );
    // 10.240.0.0/12 is where containers would get their subnets from.
    assert!(moved.settings().subnet_pools.is_empty());
    assert!(!network.settings().subnet_pools.is_empty());
}

#[test]
fn what_has_no_counterpart_is_refused_if_it_would_let_more_through_and_else_passed_over() {
    let network = a_network();
    let open = json!([
        {"type": "MATCH_ETHERTYPE", "not": true, "or": false, "etherType": 2048},
        {"type": "MATCH_ETHERTYPE", "not": true, "or": false, "etherType": 2054},
        {"type": "MATCH_ETHERTYPE", "not": true, "or": false, "etherType": 34525},
        {"type": "ACTION_DROP"},
        {"type": "ACTION_ACCEPT"},
    ]);
    let same = posted(
        &network,
        json!({
            "rules": open, "capabilities": [{"id": 1}], "enableBroadcast": false, "dns": {"domain": "x", "servers": []},
            "multicastLimit": "many", "remoteTraceLevel": null, "later": {"deep": [1]},
        }),
    );
    assert_eq!(same.revision(), network.revision());

    for rules in [
        json!([]),
        json!([{"type": "ACTION_DROP"}]),
        json!([{"type": "MATCH_IP_DEST_PORT_RANGE", "start": 22, "end": 22}, {"type": "ACTION_ACCEPT"}]),
        json!([{"type": "MATCH_ETHERTYPE", "not": true, "etherType": 2048}, {"type": "ACTION_DROP"}, {"type": "ACTION_ACCEPT"}]),
        json!([{"type": "MATCH_ETHERTYPE", "etherType": 2048}, {"type": "ACTION_DROP"}, {"type": "ACTION_ACCEPT"}]),
    ] {
        let refused = try_post(&network, json!({"rules": rules}));
        assert!(matches!(refused, Err(ChangeError::Unfit(_))), "{rules}");
    }
    let nobody = json!({"routes": [{"target": "192.168.7.0/24", "via": "10.147.17.99"}]});
    assert!(matches!(
        try_post(&network, nobody),
        Err(ChangeError::Unfit(_))
    ));
}

#[test]
fn members_are_renamed_let_in_and_put_out() {
    let network = a_network();
    let named = member_posted(&network, 1, json!({"name": "web server"}));
    let renamed = serde_json::to_value(shape::member(&named, named.by_node(node(1)).expect("it")));
    let renamed = renamed.expect("JSON");
    assert_eq!(renamed["name"], "web-server");
    assert_eq!(renamed["ipAssignments"], json!(["10.147.17.1"]));

    let out = member_posted(&named, 1, json!({"authorized": 0}));
    let is_in = |of: &Network| {
        of.by_node(node(1))
            .map(|found| matches!(found, Found::Member(it) if it.is_authorized()))
    };
    assert_eq!((is_in(&named), is_in(&out)), (Some(true), Some(false)));

    let waiting = member_posted(&network, 4, json!({"authorized": false, "tags": [[1, 2]]}));
    assert_eq!(waiting.requests().count(), 1);
}
