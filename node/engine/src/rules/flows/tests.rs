use super::*;

#[test]
fn a_flood_of_flows_takes_no_more_room_and_leaves_those_that_were_answered() {
    let flows = Flows::new([0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321], now());
    let ours: Vec<Segment> = (0..200).map(|number| udp(1, number, 53)).collect();
    for flow in &ours {
        flows.sent(flow);
        assert!(flows.know(PeerSlot(0), 0, &answer(flow)));
    }

    for number in 0..3 * (ROWS * ROW) as u32 {
        flows.allowed(
            PeerSlot(1),
            0,
            &udp(2 + number / 50_000, number % 50_000, 80),
        );
    }

    assert!(flows.count() <= ROWS * ROW);
    assert!(flows.count() > ROWS * ROW * 9 / 10, "the room is used");
    let left = ours
        .iter()
        .filter(|flow| flows.know(PeerSlot(0), 0, &answer(flow)));
    assert_eq!(left.count(), ours.len());
}

#[test]
fn the_oldest_of_a_row_gives_way_first() {
    let mut row = Row {
        prints: [0; ROW],
        flows: [None; ROW],
    };
    let key = |number| FlowKey::of_sent(&udp(1, number, 53)).expect("ports");
    for number in 0..=ROW as u32 {
        let flow = Flow::new(key(number), Began::Here, true, number);
        row.put(flow, number, number);
    }

    assert!(row.live(&key(0), 0, 9).is_none(), "the first one went");
    for number in 1..=ROW as u32 {
        assert!(row.live(&key(number), number, 9).is_some(), "{number}");
    }
    row.put(Flow::new(key(100), Began::Here, false, 9), 100, 9);
    row.put(Flow::new(key(101), Began::Here, true, 9), 101, 9);
    assert!(row.live(&key(100), 100, 9).is_none(), "never answered");
    assert!(row.live(&key(2), 2, 9).is_some());
}

fn udp(remote: u32, source: u32, destination: u16) -> Segment {
    Segment {
        source: IpAddr::from([10, 0, 0, 9]),
        destination: IpAddr::from((0x0a01_0000 + remote).to_be_bytes()),
        protocol: 17,
        kind: Kind::Udp {
            source: source as u16,
            destination,
        },
        begins: None,
    }
}

fn answer(sent: &Segment) -> Segment {
    let Kind::Udp {
        source,
        destination,
    } = sent.kind
    else {
        panic!("UDP only");
    };
    Segment {
        source: sent.destination,
        destination: sent.source,
        kind: Kind::Udp {
            source: destination,
            destination: source,
        },
        ..*sent
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can be had in no other way; only differences count"
)]
fn now() -> Instant {
    Instant::now()
}
