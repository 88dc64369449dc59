//! tinc 1.0 in router mode. Side B connects to side A.

use anyhow::Result;

use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer},
};

const DEVICE: &str = "tinc0";

#[derive(Debug)]
pub(super) struct Tinc;

impl Peer for Tinc {
    fn name(&self) -> &'static str {
        "tinc"
    }

    fn about(&self) -> &'static str {
        "router mode, UDP, its default cipher"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["tinc"]
    }

    fn prepare(&self, lab: &Lab) -> Result<()> {
        for side in lab.sides() {
            let (letter, number, underlay) = (side.letter, side.number, side.underlay());
            let connect = if letter == 'b' { "ConnectTo = a\n" } else { "" };
            side.write("tinc.conf", &format!("Name = {letter}\nDeviceType = tun\nInterface = {DEVICE}\nMode = router\n{connect}"))?;
            side.write(
                &format!("hosts/{letter}"),
                &format!("Address = {underlay}\nSubnet = 10.77.0.{number}/32\nSubnet = fd77::{number}/128\n"),
            )?;
            side.run("tincd -c . -K2048 </dev/null")?;
        }
        lab.a.copy_from(&lab.b, "hosts/b")?;
        lab.b.copy_from(&lab.a, "hosts/a")
    }

    fn up(&self, side: &Side) -> Result<()> {
        side.daemon("tincd -c . -D --pidfile=pid")?;
        side.wait_for_device(DEVICE)?;
        side.usual_addresses(DEVICE)
    }

    fn overlay(&self, _lab: &Lab) -> Result<Overlay> {
        Ok(Overlay::usual(DEVICE))
    }
}
