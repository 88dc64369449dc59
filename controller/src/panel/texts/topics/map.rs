//! How members reach each other.

use super::{About, Text};

topic! {
    /// How members reach each other.
    Map {
        links: Text = "Links", "连接";
        links_lead: Text = "How members reach each other, as they told within the last minute and a half.", "成员之间的连接方式，来自最近一分半钟内的报告。";
        open: Text = "Show links", "查看连接";
        picture: Text = "Members in a circle; a line joins two that talk", "成员排成圆圈，有通信的成员以线相连";
        direct: Text = "direct", "直连";
        relayed: Text = "relayed", "中继";
        by_tcp: Text = "by TCP", "经 TCP";
        none: Text = "no report", "无报告";
        legend: Text = "Key", "图例";
        counts: fn(u64, u64) -> String = |direct, relayed| format!("{direct} direct, {relayed} relayed"), |direct, relayed| format!("{direct} 直连，{relayed} 中继");
        drawn: fn(usize, usize) -> String = |drawn, all| format!("{drawn} of {all} links are drawn: relayed and slow ones first."), |drawn, all| format!("共 {all} 条连接，显示 {drawn} 条：优先显示中继和较慢的。");
        members_drawn: fn(usize, usize) -> String = |drawn, all| format!("{drawn} of {all} members are drawn: those with the most to tell. The table has all."), |drawn, all| format!("共 {all} 个成员，显示 {drawn} 个最值得关注的；全部成员见表格。");
        nothing: Text = "Nobody has told of a link yet. Members tell within half a minute once they talk.", "还没有连接报告。成员开始通信后半分钟内会报告。";
        latency: Text = "Latency", "延迟";
        sent: Text = "Sent", "发送";
        received: Text = "Received", "接收";
        path: Text = "Path", "路径";
        peer: Text = "Peer", "对端";
        via: About = |relay| format!("via {relay}"), |relay| format!("经由 {relay}");
        controller: Text = "a controller", "控制器";
        traffic: fn(&str, &str) -> String = |sent, received| format!("{sent} sent, {received} received"), |sent, received| format!("发送 {sent}，接收 {received}");
        containers: Text = "Behind it", "其后网段";
        ranges: Text = "Add a range", "添加地址段";
        ranges_hint: Text = "Marked ranges are in use somewhere already.", "带标记的地址段已在某处使用。";
        range_of_network: About = |name| format!("network {name}"), |name| format!("网络 {name}");
        range_of_route: About = |name| format!("route via {name}"), |name| format!("经由 {name} 的路由");
        range_of_host: About = |name| format!("host of {name}"), |name| format!("{name} 的主机");
        normalized: Text = "Becomes", "将成为";
    }
}
