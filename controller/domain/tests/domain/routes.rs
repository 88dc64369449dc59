//! Overlap rules against a model that looks at single addresses instead of prefixes.

use crate::scene::{NOW, a_network, a_request, identity};
use ipnet::IpNet;
use proptest::prelude::*;
use tombolo_domain::{
    command::{Author, Command, RouteWish, SettingsPatch},
    decide::decide,
    managed_route::{RouteId, RouteState},
    network::Network,
    settings::MemberRoutes,
};
use tombolo_proto::config::RouteMode;

#[derive(Debug, Clone)]
struct Wish {
    who: u8,
    target: IpNet,
    failover: bool,
}

fn a_wish() -> impl Strategy<Value = Wish> {
    let target = prop_oneof![
        (0u8..2, 0u8..=255, 24u8..=30).prop_map(|(third, last, length)| crate::scene::net(
            &format!("10.0.{third}.{last}/{length}")
        )),
        (0u8..=255, 24u8..=32)
            .prop_map(|(last, length)| crate::scene::net(&format!("172.28.0.{last}/{length}"))),
    ];
    (0u8..3, target, any::<bool>()).prop_map(|(who, target, failover)| Wish {
        who,
        target,
        failover,
    })
}

/// What the rules say, address by address.
#[derive(Default)]
struct Model {
    accepted: Vec<Wish>,
}

impl Model {
    fn accepts(&self, wish: &Wish) -> bool {
        let pool = crate::scene::net("10.0.0.0/29");
        let touches_pool = wish.target.hosts().any(|address| pool.contains(&address));
        let clashes = self.accepted.iter().any(|other| {
            let same = other.target == wish.target;
            same && (other.who == wish.who || !other.failover || !wish.failover)
        });
        !touches_pool && !clashes
    }
}

proptest! {
    #[test]
    fn an_administrators_routes_are_accepted_exactly_when_the_model_says(
        wishes in proptest::collection::vec(a_wish(), 1..25),
    ) {
        let mut network = a_scene_of_three();
        let mut model = Model::default();
        for (number, wish) in wishes.into_iter().enumerate() {
            let command = Command::AddRoute(RouteWish {
                id: RouteId(number as u32),
                target: wish.target,
                via: identity(wish.who),
                mode: if wish.failover { RouteMode::Failover } else { RouteMode::Single },
                metric: 0,
                author: Author::Admin,
            });

            let decided = decide(command, &network, NOW);

            prop_assert_eq!(decided.is_ok(), model.accepts(&wish), "{:?}: {:?}", wish, decided);
            if let Ok(changes) = decided {
                network = network.apply(&changes);
                model.accepted.push(wish);
            }
        }
    }
}

#[test]
fn default_routes_stand_beside_everything_share_like_others_and_are_nobodys_by_asking() {
    let mut network = a_scene_of_three();
    let settings = SettingsPatch {
        member_routes: Some(MemberRoutes::Auto),
        subnet_pools: Some([crate::scene::net("10.8.0.0/16")].into()),
        ..SettingsPatch::default()
    };
    let changes = decide(Command::Configure(settings), &network, NOW).expect("settings");
    network = network.apply(&changes);
    let wish = |number, who, target: &str, mode, author| {
        Command::AddRoute(RouteWish {
            id: RouteId(number),
            target: crate::scene::net(target),
            via: identity(who),
            mode,
            metric: 0,
            author,
        })
    };
    let put = |network: &mut Network, command| {
        let decided = decide(command, network, NOW);
        if let Ok(changes) = &decided {
            *network = network.apply(changes);
        }
        decided.map(drop)
    };
    let (single, failover) = (RouteMode::Single, RouteMode::Failover);

    // Pools and members lie in it, and are longer.
    for (number, target) in [(1, "0.0.0.0/0"), (2, "::/0")] {
        let first = wish(number, 0, target, failover, Author::Admin);
        assert_eq!(put(&mut network, first), Ok(()));
        let alone = wish(number + 10, 1, target, single, Author::Admin);
        assert!(put(&mut network, alone).is_err(), "not shared");
        let second = wish(number + 20, 1, target, failover, Author::Admin);
        assert_eq!(put(&mut network, second), Ok(()));
    }
    let longer = wish(40, 2, "10.9.0.0/16", single, Author::Member);
    assert_eq!(put(&mut network, longer), Ok(()));
    let asked = wish(41, 2, "0.0.0.0/0", failover, Author::Member);
    assert_eq!(put(&mut network, asked), Ok(()));

    let state = |id| network.route(RouteId(id)).map(|route| route.state);
    assert_eq!(state(21), Some(RouteState::Active));
    assert_eq!(
        state(40),
        Some(RouteState::Active),
        "by itself, beside a default route"
    );
    assert_eq!(
        state(41),
        Some(RouteState::Pending),
        "an administrator decides"
    );
    let subnet = Command::AllocateSubnet {
        id: RouteId(50),
        via: identity(0),
        length: 24,
        metric: 0,
        author: Author::Member,
    };
    assert_eq!(put(&mut network, subnet), Ok(()), "there is room beside it");
}

fn a_scene_of_three() -> Network {
    let mut network = a_network();
    for who in 0..3 {
        let join = Command::Join {
            request: a_request(who, 0),
            granted: true,
        };
        let changes = decide(join, &network, NOW).expect("there is room");
        network = network.apply(&changes);
    }
    network
}
