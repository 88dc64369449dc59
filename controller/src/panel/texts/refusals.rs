//! Problems in Chinese, by their code. What is not here is shown as the API tells it.

use std::collections::BTreeMap;

/// Code of a refusal or name of a problem, and the sentence; `{name}` stands for a value.
const CHINESE: &[(&str, &str)] = &[
    (
        "used-up",
        "该网络已无可用版本号，存储可能被篡改：请恢复备份",
    ),
    (
        "name",
        "名称无效：请使用 1 至 63 个字母、数字、“-”、“_”或“.”，并以字母或数字开头和结尾",
    ),
    (
        "prefix",
        "不是有效的网段：请写成 172.28.0.0/24 或 fd00::/64 的形式",
    ),
    ("mtu", "MTU {mtu} 不可用：请选择 1280 至 8900"),
    (
        "pool-too-small",
        "{pool} 太小，不能用作地址池：请使用 /30 或更大的网段",
    ),
    (
        "not-routable",
        "{prefix} 不可用：回环、链路本地、组播和保留地址段不会离开主机",
    ),
    (
        "range-reversed",
        "地址范围 {start}-{end} 的起始大于结束：请对调",
    ),
    ("ranges-overlap", "地址范围 {one} 与 {other} 重叠：请错开"),
    ("pools-overlap", "地址池 {one} 与 {other} 重叠：请错开"),
    (
        "too-many-pools",
        "一个网络最多 {most} 个地址池：请使用数量更少、范围更大的地址池",
    ),
    (
        "subnet-pool-overlaps-pool",
        "地址池 {pool} 与子网池 {subnet_pool} 重叠：请为其中一个另选范围",
    ),
    (
        "pool-overlaps-route",
        "地址池 {pool} 与经由 {member} 的路由 {target} 重叠：请先移除该路由，或另选地址池",
    ),
    (
        "member-outside-pools",
        "{member} 的地址 {address} 不在新地址池内：请先更换其地址，或保留该范围",
    ),
    (
        "pool-full",
        "地址池已满：请添加或扩大地址池，或移除已离开的成员",
    ),
    ("unknown-member", "没有这个成员：请查看成员列表"),
    ("still-waiting", "{node} 仍在等待批准：请先授权"),
    ("name-taken", "名称 {name} 已被使用：请另选名称"),
    (
        "address-taken",
        "地址 {address} 属于 {member}：请另选地址，或先从该成员处收回",
    ),
    (
        "address-outside-pools",
        "地址 {address} 不在此网络的任何地址池内，或是网络地址、广播地址：请选择成员可用的地址",
    ),
    (
        "address-not-assignable",
        "{address} 不能分配：IPv6 地址由网络设置自动得出，这里只填 IPv4 地址",
    ),
    ("too-many-addresses", "一个成员最多 {most} 个地址：请减少"),
    (
        "tag",
        "标签 {tag} 不可用：请使用 1 至 63 个字母、数字、“-”、“_”、“.”或“:”，最多 32 个标签",
    ),
    (
        "node-address-taken",
        "节点地址 {node} 在此网络中属于另一密钥：请先移除另一成员，或为此节点生成新身份",
    ),
    (
        "transport-key-taken",
        "另一成员使用相同的传输密钥：此节点需要新身份",
    ),
    ("deauthorized", "此节点已被取消授权：请由网络管理员重新授权"),
    (
        "too-many-requests",
        "等待批准的请求过多：请稍后再试，或先处理已有请求",
    ),
    ("unknown-route", "没有这条路由：请查看路由列表"),
    (
        "route-overlaps-pool",
        "路由 {target} 与地址池 {pool} 重叠：成员地址本就可达，请选择地址池以外的网段",
    ),
    (
        "route-overlaps-automatic",
        "路由 {target} 与此网络的自动 IPv6 地址段 {automatic} 重叠：每个成员的 /80 已自动路由",
    ),
    (
        "route-covers-member",
        "路由 {target} 包含 {member} 的地址 {address}：请选择不含该地址的网段",
    ),
    (
        "route-taken",
        "{target} 已经由 {member} 路由：请更换其中一台主机的子网；若两者通往同一批机器，请将两条路由都设为故障切换",
    ),
    (
        "route-exists",
        "{target} 已经由此成员路由（路由 {id}）：请修改或移除它",
    ),
    (
        "via-not-authorized",
        "{member} 未授权，无法路由到它：请先授权",
    ),
    (
        "too-many-routes",
        "一个成员最多 {most} 条路由：请合并为更大的网段",
    ),
    (
        "member-routes-off",
        "此网络不允许成员发布路由：请由管理员添加",
    ),
    (
        "not-your-route",
        "路由 {prefix} 由管理员添加：只有管理员可以移除",
    ),
    (
        "route-state",
        "路由只能设为生效；成员取消授权时自动暂停，删除即移除",
    ),
    (
        "no-subnet-left",
        "子网池中没有空闲的 /{length}：请添加子网池，或选择更小的子网",
    ),
    ("subnet-length", "容器子网的长度 /{length} 不在允许范围内"),
    (
        "member-subnet-length",
        "成员不能申请 /{length}：请选择允许范围内的长度，或由管理员分配",
    ),
    ("password-length", "密码须为 10 至 256 个字符"),
    ("password-needed", "未启用单点登录时必须设置密码"),
    ("password-is-name", "密码不能与用户名相同：请另选"),
    ("taken", "该名称已被使用：请另选名称"),
    ("network-name-taken", "该名称已被另一网络使用：请另选名称"),
    (
        "last-admin",
        "这是最后一位拥有全部权限的用户：请先将另一用户设为管理员",
    ),
    ("not-found", "没有找到：可能已被移除"),
    ("forbidden", "您无权进行此操作：请向管理员申请更高的角色"),
    ("too-many-attempts", "错误次数过多：请稍后再试"),
    (
        "store-unavailable",
        "存储无响应：可以查看，但不能更改；请检查存储，并在恢复后确认更改是否已生效",
    ),
    (
        "forged-form",
        "此表单已过期或不属于您：请允许 Cookie，重新加载页面后再试",
    ),
    (
        "too-many-rules",
        "一个网络最多 {most} 条访问规则：请使用标签和更大的网段",
    ),
    (
        "rules-too-long",
        "访问规则总长度过大：请给经常指名的成员打上标签",
    ),
    (
        "rule-form",
        "第 {number} 条访问规则无效：请写成 allow tcp 22 from tag:admin to member:db 的形式",
    ),
    (
        "rule-too-long",
        "第 {number} 条访问规则过长：请使用标签，或分成两条",
    ),
    (
        "rule-unknown-member",
        "第 {number} 条访问规则（{rule}）：没有成员 {who}，请查看成员列表",
    ),
    (
        "rule-unknown-tag",
        "第 {number} 条访问规则（{rule}）：没有成员带有标签 {tag}，请先给成员打上标签，或改正拼写",
    ),
    (
        "rule-outside",
        "第 {number} 条访问规则（{rule}）：{prefix} 中没有此网络的地址，请填写地址池、路由或其一部分，或更大的网段",
    ),
    ("stale", "内容已被他人更改：请重新加载页面后再试"),
    ("busy", "更改过于频繁：请稍后再试"),
    ("not-admitted", "此副本尚未准入密钥环：请先准入"),
    (
        "webhook-sealed",
        "此 Webhook 的签名密钥已用本控制器没有的密钥加密：请用 --secret-key-file 启动控制器，或重新创建该 Webhook",
    ),
    ("internal", "控制器内部错误：请查看其日志"),
];

/// The sentence for a code, with its values.
pub(super) fn chinese(code: &str, values: &BTreeMap<String, String>) -> Option<String> {
    let (_, sentence) = CHINESE.iter().find(|(known, _)| *known == code)?;
    let filled = values
        .iter()
        .fold((*sentence).to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        });
    Some(filled)
}

#[cfg(test)]
mod tests {
    use tombolo_domain::refusal::Refusal;

    use super::*;

    #[test]
    fn a_refusal_is_told_with_what_it_is_about() {
        let refusal = Refusal::RouteTaken {
            target: "172.17.0.0/16".parse().expect("a prefix"),
            member: "nas".to_owned(),
        };
        let coded = refusal.coded();
        let values = coded
            .values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();

        let told = chinese(coded.code, &values).expect("it is in the table");
        assert!(told.starts_with("172.17.0.0/16 已经由 nas 路由"), "{told}");
        assert_eq!(chinese("something-new", &values), None);
    }

    #[test]
    fn no_code_is_there_twice() {
        let codes: std::collections::BTreeSet<_> = CHINESE.iter().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), CHINESE.len());
    }
}
