use std::{net::TcpListener, sync::Arc};

use super::{super::responder::Responder, *};

#[test]
fn both_directions_and_round_trips_are_measured() {
    let (target, _responder) = a_responder();
    let mut phases = Vec::new();

    let measured =
        run(target, a_plan(4), |progress| phases.push(progress.phase)).expect("loopback works");

    assert!(measured.up.bytes > 0 && measured.up.bits_per_second > 0.0);
    assert!(measured.down.bytes > 0 && measured.down.bits_per_second > 0.0);
    for taken in [measured.idle, measured.beside_up, measured.beside_down] {
        assert!(taken.is_some_and(|taken| taken.samples > 0 && taken.min <= taken.p99));
    }
    phases.dedup();
    assert_eq!(phases, [Phase::Idle, Phase::Up, Phase::Down]);
}

#[test]
fn a_second_measurement_is_told_that_the_member_is_busy() {
    let (target, _responder) = a_responder();
    let first = connect(target).expect("loopback works");
    let hello = Hello::Measure {
        protocol: PROTOCOL,
        flows: 1,
        seconds: 1,
    };
    greet(&first, &hello).expect("the desk is free");

    let second = run(target, a_plan(1), |_| ());

    assert!(matches!(second, Err(MeasureError::Busy)), "{second:?}");
}

#[test]
fn a_member_that_breaks_off_ends_the_measurement() {
    let (target, responder) = a_responder();
    let mut is_cut = false;

    let measured = run(target, a_plan(1), |progress| {
        if progress.phase == Phase::Up && !is_cut {
            is_cut = true;
            responder.cut();
        }
    });

    assert!(
        matches!(measured, Err(MeasureError::Broken(_))),
        "{measured:?}"
    );
}

#[test]
fn where_nobody_listens_nothing_is_offered() {
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());

    let measured = run(gone.expect("loopback works"), a_plan(1), |_| ());

    assert!(
        matches!(measured, Err(MeasureError::NotOffered)),
        "{measured:?}"
    );
}

#[test]
fn another_version_is_told_apart_from_a_broken_connection() {
    let (target, _responder) = a_responder();
    let stream = connect(target).expect("loopback works");
    let hello = Hello::Measure {
        protocol: PROTOCOL + 1,
        flows: 1,
        seconds: 1,
    };

    let answer = greet(&stream, &hello);

    assert!(
        matches!(answer, Err(MeasureError::OtherVersion)),
        "{answer:?}"
    );
}

fn a_plan(flows: u8) -> Plan {
    Plan::new(flows, 1).expect("within the limits")
}

/// Serves on loopback until the test program ends.
fn a_responder() -> (SocketAddr, Arc<Responder>) {
    let responder = Arc::new(Responder::default());
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback works");
    let target = listener.local_addr().expect("it is bound");
    let shared = Arc::clone(&responder);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let responder = Arc::clone(&shared);
            thread::spawn(move || {
                let from = stream.peer_addr().expect("it is connected").ip();
                responder.serve(&stream, from)
            });
        }
    });
    (target, responder)
}
