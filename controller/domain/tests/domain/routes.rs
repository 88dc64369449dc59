//! Overlap rules against a model that looks at single addresses instead of prefixes.

use crate::scene::{NOW, a_network, a_request, identity};
use ipnet::IpNet;
use proptest::prelude::*;
use tombolo_domain::{
    command::{Author, Command, RouteWish},
    decide::decide,
    managed_route::RouteId,
    network::Network,
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
