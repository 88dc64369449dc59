//! The controller itself.

use super::{About, Text};

topic! {
    /// The controller itself.
    System {
        system: Text = "System", "系统";
        controller: Text = "This controller", "此控制器";
        authority: Text = "Authority", "管理机构";
        authority_key: Text = "Authority key", "管理机构密钥";
        uptime: Text = "Running for", "已运行";
        connected: Text = "Connected nodes", "已连接节点";
        networks: Text = "Networks", "网络";
        store: Text = "Store", "存储";
        store_ok: Text = "answers", "正常";
        store_away: fn(u64) -> String = |seconds| format!("has not answered for {seconds} s"), |seconds| format!("已 {seconds} 秒无响应");
        endpoints: Text = "Where nodes find controllers", "节点连接地址";
        replicas: Text = "Replicas and keyring", "副本与密钥环";
        replicas_lead: Text = "Only the root key changes the keyring, and it never comes here: run the commands where it is kept.", "只有根密钥才能更改密钥环，而根密钥不会出现在这里：请在保存根密钥的机器上运行命令。";
        epoch: fn(u64, u64) -> String = |epoch, revision| format!("Epoch {epoch}, revision {revision}"), |epoch, revision| format!("纪元 {epoch}，版本 {revision}");
        replica: Text = "Replica", "副本";
        this: Text = "this one", "本机";
        admitted: Text = "admitted", "已准入";
        pending: Text = "pending", "待准入";
        revoked: Text = "revoked", "已吊销";
        alive: Text = "alive", "运行中";
        silent: Text = "silent", "无响应";
        command: Text = "Command", "命令";
        admit: About = |name| format!("Command that admits {name}"), |name| format!("准入 {name} 的命令");
        revoke: About = |name| format!("Command that revokes {name}"), |name| format!("吊销 {name} 的命令");
        backup: Text = "Backup", "备份";
        last_backup: Text = "Last backup", "上次备份";
        no_backup: Text = "never", "从未备份";
        old_backup: fn(u64) -> String = |days| format!("{days} days old: make one"), |days| format!("已是 {days} 天前，请备份");
        fresh_backup: Text = "within a week", "一周之内";
        unknown: Text = "unknown while the store does not answer", "存储无响应，暂不可知";
        made_by: Text = "Made by", "备份者";
        secrecy: Text = "Secrecy", "加密";
        encrypted: Text = "encrypted", "已加密";
        not_encrypted: Text = "not encrypted", "未加密";
        not_encrypted_means: Text = "Whoever reads it can do what this controller can.", "能读取它的人可以做此控制器能做的一切。";
        root_key: Text = "Root key", "根密钥";
        root_key_inside: Text = "in the backup", "在备份中";
        root_key_elsewhere: Text = "elsewhere", "在别处";
        size: Text = "Size", "大小";
        backup_lead: Text = "A backup holds the keys, so it is written on the controller's host and never sent to a browser.", "备份包含密钥，因此只写在控制器主机上，不会发送到浏览器。";
        backup_passphrase: Text = "Make a passphrase once, and keep a copy elsewhere: without it the backup is of no use.", "先生成一次口令，并在别处保存一份：没有口令，备份毫无用处。";
        seconds: fn(u64) -> String = |seconds| match seconds {
            0..120 => format!("{seconds} s"),
            120..7200 => format!("{} min", seconds / 60),
            7200..172_800 => format!("{} h", seconds / 3600),
            _ => format!("{} days", seconds / 86_400),
        }, |seconds| match seconds {
            0..120 => format!("{seconds} 秒"),
            120..7200 => format!("{} 分钟", seconds / 60),
            7200..172_800 => format!("{} 小时", seconds / 3600),
            _ => format!("{} 天", seconds / 86_400),
        };
    }
}
