//! Webhooks.

use super::{About, Text};

topic! {
    /// Webhooks.
    Webhooks {
        title: Text = "Webhooks", "Webhook";
        lead: Text = "Who is told of changes by HTTP: signed, in order, and again until it is taken.", "通过 HTTP 获知变更的接收方：消息带签名、按顺序发送，未被接收则重试。";
        nothing: Text = "There are none.", "暂无 Webhook。";
        url: Text = "Where messages go (URL)", "接收地址（URL）";
        events: Text = "Events", "事件";
        events_hint: Text = "None chosen: all of them.", "不选则为全部事件。";
        every_event: Text = "all", "全部";
        changed: Text = "a network changed", "网络变更";
        requests: Text = "a server asks to join", "服务器申请加入";
        online: Text = "a server came or went", "服务器上线或离线";
        deleted: Text = "a network was removed", "网络被移除";
        network: Text = "Network", "网络";
        every_network: Text = "every network", "所有网络";
        new: Text = "New webhook", "新建 Webhook";
        create: Text = "Create webhook", "创建 Webhook";
        created: Text = "Messages are signed with this secret, which is shown only now:", "消息使用以下密钥签名，仅显示这一次：";
        taken: Text = "taken", "已接收";
        untold: Text = "nothing told yet", "尚未发送";
        failing: Text = "takes nothing since", "未接收，自";
        off: Text = "off since", "已停用，自";
        waiting: fn(u64) -> String = |count| format!("messages waiting: {count}"), |count| format!("{count} 条消息等待发送");
        test: Text = "Test", "测试";
        test_taken: Text = "The message was taken.", "消息已被接收。";
        test_failed: About = |error| format!("the message was not taken: {error}"), |error| format!("消息未被接收：{error}");
        deliveries: Text = "Deliveries", "发送记录";
        deliveries_lead: Text = "The last 20 attempts, the newest first. A message that is sent again has the id that it had before, so that the receiver can tell.", "最近 20 次发送，最新的在前。重新发送的消息保留原有编号，接收方可据此识别。";
        attempt: Text = "Attempt", "次数";
        not_taken: Text = "not taken", "未接收";
        send_again: Text = "Send again", "重新发送";
        send_test: Text = "Send a test", "发送测试";
        turn_off: Text = "Turn off", "停用";
        turn_on: Text = "Turn on", "启用";
        turned_off: Text = "The webhook is told nothing more; what waited is dropped.", "Webhook 已停用，等待中的消息已丢弃。";
        turned_on: Text = "The webhook is told of what happens from now on.", "Webhook 已启用，将获知此后的事件。";
        remove: About = |url| format!("Remove the webhook {url}"), |url| format!("移除 Webhook {url}");
        removed: Text = "The webhook was removed.", "Webhook 已移除。";
    }
}
