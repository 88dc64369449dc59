//! Who relays.

use super::{About, Text};

topic! {
    /// Who relays.
    Relays {
        title: Text = "Relays", "中继";
        lead: Text = "A relay passes on the sealed packets of members that cannot reach each other straight. It cannot read them. Members choose the nearest one that works.", "当成员之间无法直连时，中继转发它们的加密数据包，且无法读取内容。成员会选择最近的可用中继。";
        relay: Text = "Relay", "中继";
        controller: Text = "Controller", "控制器";
        used_by: Text = "Links that use it", "使用它的连接";
        together: fn(u64) -> String = |links| format!("{links}, all controllers together"), |links| format!("{links}（所有控制器合计）");
        carried: Text = "Carried since its start", "启动以来的转发量";
        clients: fn(u64) -> String = |clients| match clients {
            1 => "for 1 member".to_owned(),
            _ => format!("for {clients} members"),
        }, |clients| format!("{clients} 个成员正在使用");
        untold: Text = "not told", "未报告";
        counted: Text = "A controller counts what it carries for all networks, a member tells what it carries for this one.", "控制器统计其为所有网络转发的总量，成员只报告为本网络转发的量。";
        allowed: Text = "May relay", "可作中继";
        always: Text = "always", "始终";
        yes: Text = "yes", "是";
        no: Text = "no", "否";
        unlisted: fn(u64) -> String = |count| format!("{count} more members may relay; fewer links go by them."), |count| format!("另有 {count} 个成员可作中继，使用它们的连接更少。");
        none: Text = "No member may relay, so controllers carry everything that needs one. Turn the switch of a member on that can be reached from outside, with UDP 9790 (and TCP 9790) open: it needs nothing else.", "没有成员可作中继，需要中继的流量都由控制器转发。请打开某个可从外部访问的成员的开关，并开放其 UDP 9790（及 TCP 9790）端口，无需其他设置。";
        allowed_done: About = |name| format!("{name} may relay."), |name| format!("{name} 可作中继。");
        refused_done: About = |name| format!("{name} may not relay any more."), |name| format!("{name} 不再可作中继。");
    }
}
