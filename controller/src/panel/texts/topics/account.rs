//! Signing in, the own account, and what the frame of every page says.

use super::{About, Text};

topic! {
    /// Signing in, the own account, and what the frame of every page says.
    Account {
        menu: Text = "Main", "主菜单";
        preferences: Text = "Account and display", "账户与显示";
        theme: About = |theme| format!("Theme: {theme}"), |theme| format!("主题：{theme}");
        theme_auto: Text = "automatic", "自动";
        theme_light: Text = "light", "浅色";
        theme_dark: Text = "dark", "深色";
        account: Text = "Your account", "您的账户";
        change_password: Text = "Change your password", "修改密码";
        change_password_lead: Text = "Your other sessions end; this one goes on.", "您的其他会话将结束，当前会话继续有效。";
        current_password: Text = "Current password", "当前密码";
        new_password: Text = "New password", "新密码";
        password_changed: Text = "Your password is changed, and your other sessions have ended.", "密码已修改，其他会话已结束。";
        wrong_password: Text = "The current password is wrong.", "当前密码错误。";
        code: Text = "One-time code", "一次性验证码";
        code_hint: Text = "Only if you switched on two-step sign-in: from your app, or a recovery code.", "仅在启用两步登录时填写：验证器应用中的验证码或恢复码。";
        sign_in_failed: Text = "Name, password or one-time code is wrong.", "用户名、密码或一次性验证码错误。";
        two_step: Text = "Two-step sign-in", "两步登录";
        two_step_lead: Text = "Signing in then also takes a code from an authenticator app on your phone.", "登录时还需输入手机验证器应用中的验证码。";
        two_step_on: Text = "Two-step sign-in is on.", "两步登录已启用。";
        two_step_off: Text = "Two-step sign-in is off.", "两步登录未启用。";
        codes_left: fn(u64) -> String = |count| format!("{count} recovery codes are left."), |count| format!("剩余 {count} 个恢复码。");
        begin: Text = "Set up", "开始设置";
        scan: Text = "Scan this with your authenticator app, or type the key into it. Then confirm with a code.", "用验证器应用扫描此二维码，或手动输入密钥，然后输入验证码确认。";
        scan_label: Text = "Key for the authenticator app as QR code", "验证器应用密钥的二维码";
        confirm: Text = "Confirm", "确认";
        wrong_code: Text = "The code is wrong: check the clock of your phone, and type the code that is shown now.", "验证码错误：请检查手机时间，并输入当前显示的验证码。";
        recovery_codes: Text = "Two-step sign-in is on. Keep these recovery codes: each works once instead of a code, and they are shown only now.", "两步登录已启用。请保存以下恢复码：每个可代替验证码使用一次，仅显示这一次。";
        switch_off: Text = "Switch off", "关闭";
        switched_off: Text = "Two-step sign-in is off now.", "两步登录已关闭。";
    }
}
