//! What `node doctor` reads of the host: files below /proc and /sys, one program, two sockets. Changes nothing.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    time::SystemTime,
};

use tombolo_engine::diagnosis::doctor::{Facts, Obstacle, Ways};
use tombolo_proto::id::UnixSeconds;

use crate::{
    cli::{DATA_PORT, Global},
    io::tun,
    report::{NetworkReport, StatusReport},
};

const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Bytes of firewall rules that are looked at.
const MAX_RULES: usize = 16 << 20;

/// Looks at everything that needs no daemon.
pub(super) fn observe(global: &Global, status: Option<&StatusReport>, port: Option<u16>) -> Facts {
    let port = status
        .map(|status| status.port)
        .or(port)
        .unwrap_or(DATA_PORT);
    let links = status
        .map(|status| &status.networks[..])
        .unwrap_or_default();
    let dir = status
        .and_then(|status| status.state_dir.as_ref())
        .unwrap_or(&global.state_dir);
    Facts {
        tun: tun::check_driver().err().map(|error| error.to_string()),
        wall: UnixSeconds(
            SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0, |since| since.as_secs()),
        ),
        forwarding: ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"]
            .map(|key| Some(number(key)? != 0)),
        rp_filter: links
            .iter()
            .filter_map(|network| {
                let of = |name: &str| number(&format!("net/ipv4/conf/{name}/rp_filter"));
                let value = of("all")?.max(of(&network.interface)?);
                Some((network.interface.clone(), value))
            })
            .collect(),
        ruleset: ruleset(),
        port,
        // The daemon has it while it runs.
        port_problem: status.is_none().then(|| port_problem(port)).flatten(),
        uplinks: uplinks(links),
        ways: ways(links),
        state_dir: dir.display().to_string(),
        space: space(dir),
        state_problem: state_problem(dir),
        ..Facts::default()
    }
}

/// Whether there is a Docker to ask.
pub(super) fn has_docker() -> bool {
    Path::new(DOCKER_SOCKET).exists()
}

/// The MTU of an interface.
pub(super) fn mtu_of(interface: &str) -> Option<u32> {
    read(&format!("/sys/class/net/{interface}/mtu"))?
        .parse()
        .ok()
}

fn number(key: &str) -> Option<u32> {
    read(&format!("/proc/sys/{key}"))?.parse().ok()
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn port_problem(port: u16) -> Option<String> {
    match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Some("another program has it".to_owned())
        }
        Err(error) => Some(error.to_string()),
    }
}

fn ruleset() -> Option<String> {
    let output = Command::new("nft")
        .args(["list", "ruleset"])
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let mut rules = output.stdout;
    rules.truncate(MAX_RULES);
    Some(String::from_utf8_lossy(&rules).into_owned())
}

/// Interfaces of default routes, ours apart: IPv4, IPv6.
fn ways_out(links: &[NetworkReport]) -> [Vec<String>; 2] {
    let v4 = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    default_interfaces(&v4, &v6).map(|mut names| {
        names.retain(|name| links.iter().all(|network| network.interface != *name));
        names.sort_unstable();
        names.dedup();
        names
    })
}

fn ways(links: &[NetworkReport]) -> Ways {
    let own = ways_out(links);
    let is_strict = |name: &&String| {
        let of = |name: &str| number(&format!("net/ipv4/conf/{name}/rp_filter"));
        of("all").max(of(name)) == Some(1)
    };
    let strict = own[0].iter().filter(is_strict).cloned().collect();
    let valid_mark = number("net/ipv4/conf/all/src_valid_mark");
    Ways {
        own,
        strict: (valid_mark.map(|value| value != 0), strict),
        ..Ways::default()
    }
}

/// Interfaces of default routes, and their MTUs.
fn uplinks(links: &[NetworkReport]) -> Vec<(String, u32)> {
    let mut names = ways_out(links).concat();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| Some((name.clone(), mtu_of(&name)?)))
        .collect()
}

/// Interfaces with a default route, by proc(5): IPv4 has destination and mask in columns 1 and 7, IPv6 destination and
/// prefix length in 0 and 1 and the interface last. The kernel's own unreachable default is on `lo`.
fn default_interfaces(v4: &str, v6: &str) -> [Vec<String>; 2] {
    let of_v4 = v4.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.get(1)? == &"00000000" && fields.get(7)? == &"00000000";
        is_default.then(|| fields.first().copied()).flatten()
    });
    let of_v6 = v6.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default =
            fields.first()?.bytes().all(|digit| digit == b'0') && fields.get(1)? == &"00";
        is_default.then(|| fields.last().copied()).flatten()
    });
    let owned = |names: Vec<&str>| {
        let names = names.into_iter().filter(|name| *name != "lo");
        names.map(str::to_owned).collect()
    };
    [owned(of_v4.collect()), owned(of_v6.collect())]
}

fn space(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Writes and removes a file, where the directory exists.
fn state_problem(dir: &Path) -> Option<Obstacle> {
    if !dir.exists() {
        return None;
    }
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    let written = File::create_new(&probe).map(drop);
    // If it could not be written there is nothing to remove.
    let _ = fs::remove_file(&probe);
    let error = written.err()?;
    let dir = dir.display();
    let kind = error.kind();
    let mend = if kind == io::ErrorKind::ReadOnlyFilesystem {
        format!("mount -o remount,rw \"$(stat -c %m {dir})\"")
    } else if kind == io::ErrorKind::PermissionDenied {
        format!("chmod u+rwx {dir} (or be root: sudo tombolo doctor)")
    } else {
        format!("du -xh \"$(stat -c %m {dir})\" | sort -h | tail (shows what to remove)")
    };
    Some(Obstacle {
        said: error.to_string(),
        mend,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_with_default_routes_are_read_from_both_tables() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let zero = "0".repeat(32);
        let v6 = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     ppp0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n\
             20010db8000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth2\n"
        );

        assert_eq!(default_interfaces(v4, &v6), [["eth0"], ["ppp0"]]);
    }
}
