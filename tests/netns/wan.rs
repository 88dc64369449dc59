//! The emulated wide-area network does what tests ask of it: otherwise they would prove nothing.

use std::time::Duration;

use tombolo_tests::{
    netns::{Claim, Lab, Namespace},
    process::announce,
    wan::{Quality, Wan},
};

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn delay_loss_duplication_order_holes_and_cuts_are_as_asked() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let lan = lab.lan("wan");
    let near = lab.machine_on(&lan, "near", "10.20.0.1/24");
    let far = lab.namespace("far");
    let wan: Wan = lan.connect_by_wan(&far, "eth0", "10.20.0.2/24", 1);

    let said = ping(&near, "-c 20 -i 0.01");
    assert!(said.contains(" 0% packet loss"), "{said}");

    wan.set(Quality::far(MILLI * 20));
    let said = ping(&near, "-c 20 -i 0.01");
    let mean = mean_round_trip(&said);
    announce(&format!("FIGURE: 20 ms each way: {mean:.1} ms round trip"));
    assert!((40.0..60.0).contains(&mean), "{said}");

    wan.set_outbound(Quality {
        loss: 0.2,
        ..Quality::PERFECT
    });
    wan.set_inbound(Quality::PERFECT);
    let said = ping(&near, "-c 500 -i 0.002 -W 1");
    let lost = percent_lost(&said);
    announce(&format!(
        "FIGURE: 20 % loss one way: {lost:.1} % of pings lost"
    ));
    assert!((12.0..28.0).contains(&lost), "{said}");

    wan.set_outbound(Quality {
        duplication: 1.0,
        ..Quality::PERFECT
    });
    assert!(ping(&near, "-c 20 -i 0.01").contains("duplicates"));

    wan.set(Quality {
        hole: Some(1300),
        ..Quality::PERFECT
    });
    assert!(ping(&near, "-c 1 -s 1272").contains(" 0% packet loss"));
    assert!(ping(&near, "-c 1 -s 1273 -W 1").contains("100% packet loss"));

    wan.cut(true);
    assert!(ping(&near, "-c 1 -W 1").contains("100% packet loss"));
    wan.cut(false);
    assert!(ping(&near, "-c 1 -W 1").contains(" 0% packet loss"));
}

fn ping(from: &Namespace, options: &str) -> String {
    from.try_run(&format!("ping -n -q {options} 10.20.0.2"))
        .stdout
}

fn mean_round_trip(said: &str) -> f64 {
    let numbers = said.split("mdev = ").nth(1).expect("round-trip times");
    let mean = numbers.split('/').nth(1).expect("the mean");
    mean.parse().expect("a number")
}

fn percent_lost(said: &str) -> f64 {
    let before = said.split("% packet loss").next().expect("a first part");
    let number = before.rsplit(' ').next().expect("a last word");
    number.parse().expect("a number")
}
