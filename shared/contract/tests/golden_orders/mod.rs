//! Orders: golden payloads, and what stands in them.

use rdev_contract::control::{ControlMessage, Given, Input, Order, SignalName, StdinGiven};
use rdev_contract::event::TerminalSize;
use rdev_contract::id::ExecId;
use rdev_contract::trail::TrailMessage;

use super::{at, requester, session};

pub(super) fn assert_order(order: Order, golden: &str) {
    let exec = ExecId {
        project: "demo".parse().unwrap(),
        session: session(),
        stream: "session-1".parse().unwrap(),
    };
    let given = Given {
        number: 3,
        stdin: StdinGiven {
            to: 4096,
            ended: true,
        },
        canceled: matches!(order, Order::Cancel { .. }),
    };
    let message = ControlMessage::new(&exec, at(), requester(), given, order);
    assert_eq!(serde_json::to_string(&message).unwrap(), golden);
    assert_eq!(
        serde_json::from_str::<ControlMessage>(golden).unwrap(),
        message
    );
}

#[test]
fn orders() {
    let reason = "the session was ended".to_owned();
    assert_order(Order::Cancel { reason }, golden!("order_cancel"));
    let signal = SignalName::Usr1;
    assert_order(Order::Signal { signal }, golden!("order_signal"));
    let size = TerminalSize { cols: 80, rows: 24 };
    assert_order(Order::Resize { size }, golden!("order_resize"));
    let order = |bytes: &[u8], end| Order::Stdin {
        offset: 4096 - bytes.len() as u64,
        input: Input::of(bytes),
        end,
    };
    assert_order(order("é\n".as_bytes(), true), golden!("order_stdin"));
    assert_order(order(b"\xff\0", false), golden!("order_stdin_bytes"));
}

#[test]
fn what_is_left_of_an_order() {
    let exec = ExecId {
        project: "demo".parse().unwrap(),
        session: session(),
        stream: "session-1".parse().unwrap(),
    };
    let golden = golden!("trail_signal");
    let signal = Order::Signal {
        signal: SignalName::Usr1,
    };
    let message = TrailMessage::new(&exec, at(), requester(), &signal);
    assert_eq!(serde_json::to_string(&message).unwrap(), golden);
    assert_eq!(
        serde_json::from_str::<TrailMessage>(golden).unwrap(),
        message
    );
    // Not what was typed.
    let input = Order::Stdin {
        offset: 0,
        input: Input::of(b"secret"),
        end: false,
    };
    let message = TrailMessage::new(&exec, at(), requester(), &input);
    assert!(!serde_json::to_string(&message).unwrap().contains("secret"));
}

#[test]
fn input_is_the_bytes_in_the_shorter_form() {
    for bytes in [&b""[..], b"a", b"\0\0", b"\xff", "é\u{1}\"".as_bytes()] {
        let input = Input::of(bytes);
        assert_eq!(input.bytes().unwrap(), bytes);
        let json = serde_json::to_string(&input).unwrap();
        let frame = r#"{"data_base64":""}"#.len();
        assert!(json.len() <= frame + bytes.len().div_ceil(3) * 4, "{json}");
    }
    assert_eq!(Input::of(b"\n").data.as_deref(), Some("\n"));
    assert_eq!(Input::of(&[0; 9]).data, None);
}

#[test]
fn signals_are_named_as_on_linux() {
    for signal in SignalName::ALL {
        assert_eq!(signal.name().parse(), Ok(signal));
        let json = format!("\"{}\"", signal.name());
        assert_eq!(serde_json::to_string(&signal).unwrap(), json);
    }
    let numbers = SignalName::ALL.map(SignalName::number);
    assert_eq!(numbers, [1, 2, 3, 9, 10, 12, 14, 15, 18, 19, 20, 28]);
    for name in ["SIGINT", "int", "9", "TRAP", ""] {
        assert!(name.parse::<SignalName>().is_err(), "{name}");
    }
}
