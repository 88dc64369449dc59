//! `/etc/resolv.conf`, as far as it names resolvers (see resolv.conf(5)).

use std::net::IpAddr;

/// Resolvers that are asked at most, as in the C library.
const MAX_RESOLVERS: usize = 3;

/// The resolvers in the order of the file, without those that `is_own` knows: a question must not come back.
#[must_use]
pub fn resolvers(text: &str, is_own: impl Fn(&IpAddr) -> bool) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok())?
        })
        .filter(|address| !is_own(address))
        .take(MAX_RESOLVERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_in_order_without_our_own() {
        let text = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 172.27.0.1\nnameserver\t192.0.2.1 x\n\
                    nameserver what\nnameserver 2001:db8::1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let own: IpAddr = "172.27.0.1".parse().expect("an address");

        let found = resolvers(text, |address| *address == own);

        let found: Vec<_> = found.iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
    }
}
