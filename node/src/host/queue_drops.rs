//! What the kernel dropped at the tail of a queue because the forwarding threads could not keep up. It counts this
//! itself; here its tables are read when somebody asks.

use std::{collections::BTreeSet, fs};

/// Packets for the overlay that found the queue of one of `interfaces` full.
#[must_use]
pub fn of_interfaces(interfaces: &BTreeSet<String>) -> u64 {
    let table = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    interfaces_dropped(&table, interfaces)
}

/// Datagrams that found the receive buffer of a socket on `port` full.
#[must_use]
pub fn of_sockets(port: u16) -> u64 {
    ["/proc/self/net/udp", "/proc/self/net/udp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .map(|table| sockets_dropped(&table, port))
        .sum()
}

/// The table has a line `name: 8 numbers on what was received, 8 on what was sent`, the fourth of each being drops.
fn interfaces_dropped(table: &str, interfaces: &BTreeSet<String>) -> u64 {
    table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| interfaces.contains(name.trim()))
        .filter_map(|(_, numbers)| numbers.split_whitespace().nth(8 + 3)?.parse::<u64>().ok())
        .sum()
}

/// The table has a line `slot: address:port … drops` per socket, ports in hexadecimal.
fn sockets_dropped(table: &str, port: u16) -> u64 {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter(|line| {
            let local = line.split_whitespace().nth(1);
            local.is_some_and(|local| local.ends_with(&suffix))
        })
        .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERFACES: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  tmb0: 2917049   78811    0    5    0     0          0         0  2353532   45184    0   17    0     0       0          0
 tmb10:       0       0    0    0    0     0          0         0        0       0    0    4    0     0       0          0
";
    const SOCKETS: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 00000000:263E 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 23
  200: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 9
";

    #[test]
    fn only_what_was_to_be_sent_on_the_named_interfaces_counts() {
        let ours = ["tmb0", "tmb10"].map(str::to_owned).into();

        assert_eq!(interfaces_dropped(INTERFACES, &ours), 17 + 4);
        assert_eq!(interfaces_dropped(INTERFACES, &BTreeSet::new()), 0);
    }

    #[test]
    fn only_sockets_on_the_port_count() {
        assert_eq!(sockets_dropped(SOCKETS, 9790), 23);
        assert_eq!(sockets_dropped(SOCKETS, 9791), 0);
        assert_eq!(sockets_dropped("", 9790), 0);
    }
}
