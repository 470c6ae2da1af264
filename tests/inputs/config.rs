//! A `GRIP_URL`, or several.

use axum_eventstream::{
    EventStream,
    grip::{GripConfig, Key, Publisher, Verifier},
};

pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let _ = EventStream::builder().grip(text).build().map_err(|error| {
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
    });
    if let Ok(config) = text.parse::<GripConfig>() {
        check_config(&config);
    }
    let _ = serde_json::from_str::<GripConfig>(text);
}

/// The control URI of a parsed URL is a URL without any of the settings.
fn check_config(config: &GripConfig) {
    let again: GripConfig = config
        .control_uri
        .parse()
        .expect("the control URI is a URL");
    assert_eq!(again.user, None);
    assert_eq!(again.pass, None);
    assert!(again.key.is_none() && again.verify_key.is_none());
    assert!(again.control_iss.is_none() && again.verify_iss.is_none());
    let _ = format!("{config:?}");
}

/// A key, as text or as a JWK.
pub fn check_key(input: &[u8]) {
    use_key(Key::from(input));
    if let Ok(text) = str::from_utf8(input) {
        use_key(Key::from(text));
        if let Ok(key) = serde_json::from_str::<Key>(text) {
            use_key(key);
        }
    }
}

/// Uses the key to verify, and to sign.
fn use_key(key: Key) {
    let _ = Verifier::new(&key);
    let mut config = GripConfig::new("http://localhost");
    config.control_iss = Some("realm".to_owned());
    config.key = Some(key);
    let _ = Publisher::new([config]);
}
