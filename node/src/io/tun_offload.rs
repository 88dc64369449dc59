//! What the kernel does for a TUN device: it leaves checksums to do and hands over, and takes, super-packets.
//!
//! tun-rs asks for this once, when it opens the device. Here it is asked for piece by piece: less of it on demand, more
//! of it (ECN) where the kernel has it.

use std::os::fd::AsFd;

use rustix::{
    io::Errno,
    ioctl::{IntegerSetter, Opcode, ioctl, opcode},
};
use serde::{Deserialize, Serialize};
use tombolo_engine::offload::coalesce::Merges;

/// `TUNSETOFFLOAD` of `include/uapi/linux/if_tun.h`.
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);

const TUN_F_CSUM: usize = 0x01;
const TUN_F_TSO4: usize = 0x02;
const TUN_F_TSO6: usize = 0x04;
/// Super-packets of TCP with CWR set as well.
const TUN_F_TSO_ECN: usize = 0x08;
/// Since Linux 6.2.
const TUN_F_USO4: usize = 0x20;
const TUN_F_USO6: usize = 0x40;

/// Kinds of super-packets that the kernel hands over and takes. The first is what is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunOffload {
    /// Of TCP and UDP.
    #[default]
    TcpAndUdp,
    /// Of TCP only.
    Tcp,
    /// None: every packet alone and complete.
    None,
}

impl TunOffload {
    /// As the kernel's tools name it (`ethtool -k`), for reports.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::TcpAndUdp => &["tso4", "tso6", "uso4", "uso6"],
            Self::Tcp => &["tso4", "tso6"],
            Self::None => &[],
        }
    }

    /// What may be written as a super-packet.
    #[must_use]
    pub const fn merges(self) -> Merges {
        match self {
            Self::TcpAndUdp => Merges::ALL,
            Self::Tcp => Merges {
                udp4: false,
                udp6: false,
                ..Merges::ALL
            },
            Self::None => Merges::NONE,
        }
    }

    const fn flags(self) -> usize {
        let tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
        match self {
            Self::TcpAndUdp => tcp | TUN_F_USO4 | TUN_F_USO6,
            Self::Tcp => tcp,
            Self::None => 0,
        }
    }
}

/// Turns on as much of `wanted` as this kernel has, for a device that was opened with a virtio header, and says what.
pub(super) fn enable(device: &impl AsFd, wanted: TunOffload) -> std::io::Result<TunOffload> {
    if wanted == TunOffload::TcpAndUdp && set(device, wanted.flags()).is_ok() {
        return Ok(wanted);
    }
    set(device, TunOffload::Tcp.flags())?;
    Ok(TunOffload::Tcp)
}

fn set(device: &impl AsFd, flags: usize) -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "there is no safe call for this request")]
    // SAFETY: TUNSETOFFLOAD takes an integer of flags by value and touches no memory of this process.
    unsafe {
        ioctl(device, IntegerSetter::<TUNSETOFFLOAD>::new_usize(flags))
    }
}
