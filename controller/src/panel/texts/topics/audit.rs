//! The audit log.

use super::{About, Text};

topic! {
    /// The audit log.
    Audit {
        title: Text = "Audit log", "审计日志";
        lead: Text = "What was done, the newest first.", "已执行的操作，最新的在前。";
        forgotten: fn(u64) -> String = |last| format!("Lines 1 to {last} were old and forgotten on purpose (--audit-keep)."), |last| format!("第 1 至 {last} 行已过期，按设置（--audit-keep）清除。");
        time: Text = "Time", "时间";
        actor: Text = "Who", "操作者";
        action: Text = "What", "操作";
        network: Text = "Network", "网络";
        subject: Text = "To what", "对象";
        from: About = |source| format!("from {source}"), |source| format!("来自 {source}");
        change: Text = "Change", "变更";
        before: Text = "Before", "变更前";
        after: Text = "After", "变更后";
        nothing: Text = "Nothing that fits.", "没有符合条件的记录。";
    }
}
