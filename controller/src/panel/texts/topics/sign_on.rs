//! Signing in with an account at an identity provider.

use super::{About, Text};

/// A text about a provider and a word of its protocol.
type Both = fn(&str, &str) -> String;

topic! {
    /// Signing in with an account at an identity provider.
    SignOn {
        or: Text = "or", "或";
        sign_in_with: About = |provider| format!("Sign in with {provider}"), |provider| format!("使用 {provider} 登录");
        signed_in: Text = "Signed in", "已登录";
        go_on: Text = "Go on to the networks", "前往网络列表";
        still_there: About = |provider| format!("You are signed out here, but perhaps not at {provider}."), |provider| format!("您已在此退出，但可能仍登录在 {provider}。");
        leave: About = |provider| format!("Sign out of {provider}"), |provider| format!("退出 {provider}");
        not_offered: Text = "this controller has no single sign-on: sign in with a password", "此控制器未启用单点登录：请使用密码登录";
        unreachable: About = |provider| format!("{provider} does not answer: try again later, or sign in with a password"), |provider| format!("{provider} 没有响应：请稍后再试，或使用密码登录");
        refused: Both = |provider, code| format!("{provider} did not sign you in ({code}): begin again"), |provider, code| format!("{provider} 未允许登录（{code}）：请重新开始");
        not_begun: Text = "this sign-in was begun too long ago, or in another browser: begin again, with cookies allowed", "此次登录已过期，或是在其他浏览器中开始的：请允许 Cookie 后重新开始";
        untrusted: About = |provider| format!("what {provider} answered cannot be trusted: begin again; if that does not help, the controller's log says why"), |provider| format!("{provider} 的应答不可信：请重新开始；若仍失败，请查看控制器日志");
        nameless: Both = |provider, claim| format!("{provider} does not tell your name (the claim {claim}): ask an administrator"), |provider, claim| format!("{provider} 未提供您的名称（声明 {claim}）：请联系管理员");
        unusable_name: About = |name| format!("the name {name:?} cannot be used here: ask an administrator to have another claim name users"), |name| format!("名称“{name}”在此不可用：请联系管理员改用其他声明作为用户名");
        no_role: About = |provider| format!("your account at {provider} may do nothing here: ask an administrator for a role"), |provider| format!("您在 {provider} 的账户没有此处的权限：请向管理员申请角色");
        unknown: About = |name| format!("there is no user {name} here: ask an administrator to make one without a password"), |name| format!("此处没有用户 {name}：请管理员创建一个不带密码的同名用户");
        taken: About = |name| format!("the user {name} here is not yours to take: sign in with the password, or ask an administrator"), |name| format!("此处的用户 {name} 已属于他人或使用密码：请用密码登录，或联系管理员");
        no_password: About = |provider| format!("You sign in with your account at {provider}; password and second step are kept there."), |provider| format!("您使用 {provider} 的账户登录；密码和两步验证由其管理。");
        without_password: About = |provider| format!("Empty: they sign in with the account of that name at {provider}."), |provider| format!("留空：用户使用 {provider} 的同名账户登录。");
        by_provider: Text = "single sign-on", "单点登录";
    }
}
