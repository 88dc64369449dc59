//! Users and API tokens.

use super::{About, Text};

topic! {
    /// Users and API tokens.
    Access {
        users: Text = "Users", "用户";
        users_lead: Text = "Who may sign in here, and what they may do.", "谁可以在此登录，以及可以做什么。";
        new_user: Text = "New user", "新建用户";
        create_user: Text = "Create user", "创建用户";
        user_created: About = |name| format!("{name} can sign in now."), |name| format!("{name} 现在可以登录。");
        role: Text = "Role", "角色";
        role_everywhere: Text = "Role in every network", "在所有网络中的角色";
        roles_here: Text = "Beyond that, in single networks", "另外，在单个网络中";
        none: Text = "none", "无";
        viewer: Text = "viewer: reads", "查看者：只读";
        operator: Text = "operator: decides on members, routes and join tokens", "操作员：处理成员、路由和加入令牌";
        admin: Text = "administrator: everything", "管理员：全部权限";
        you: Text = "you", "您";
        created: Text = "Created", "创建时间";
        initial_password: Text = "First password", "初始密码";
        initial_password_hint: Text = "Give it to them on a safe way; they can change it under their name.", "请通过安全途径告知；用户可在自己的账户页面修改。";
        reset_password: Text = "Set a new password", "重置密码";
        reset_password_lead: Text = "Ends every session of this user, and switches two-step sign-in off.", "该用户的所有会话将结束，并关闭两步登录。";
        new_password: Text = "New password", "新密码";
        password_reset: About = |name| format!("{name} has a new password."), |name| format!("已为 {name} 设置新密码。");
        remove_user: Text = "Remove this user", "移除此用户";
        remove_user_lead: Text = "Every session of this user ends at once. What they did stays in the audit log.", "该用户的所有会话将立即结束。其操作仍保留在审计日志中。";
        user_removed: About = |name| format!("{name} was removed."), |name| format!("{name} 已移除。");
        tokens: Text = "API tokens", "API 令牌";
        tokens_lead: Text = "For programs that use the web API.", "供使用 Web API 的程序使用。";
        new_token: Text = "New token", "新建令牌";
        purpose: Text = "What it is for", "用途";
        scope: Text = "May", "权限";
        scope_admin: Text = "do everything", "全部操作";
        scope_read: Text = "read", "只读";
        scope_write: Text = "read and change networks", "读取并更改网络";
        scope_single: Text = "In single networks", "在单个网络中";
        scope_hint: Text = "They add up; each includes the one before it.", "权限可叠加，后一项包含前一项。";
        scope_everywhere: Text = "Everywhere", "所有网络";
        last_used: Text = "Last used", "上次使用";
        never_used: Text = "never", "从未使用";
        days: Text = "Valid for days", "有效天数";
        days_hint: Text = "Empty: until it is revoked.", "留空：直到被撤销。";
        no_expiry: Text = "never", "永不";
        token_created: Text = "The token is shown only now:", "令牌仅显示这一次：";
        token_revoked: Text = "The token was revoked: it works no more.", "令牌已撤销，立即失效。";
        revoke: Text = "Revoke", "撤销";
        revoke_token: About = |name| format!("Revoke the token {name}"), |name| format!("撤销令牌 {name}");
        not_you: Text = "This is you: ask another administrator.", "这是您自己的账户，请由其他管理员操作。";
    }
}
