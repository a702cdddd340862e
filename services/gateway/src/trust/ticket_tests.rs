//! Tickets: what they open, for how long, and what is none.

use super::*;
use crate::trust::proxies::Client;

const SECRET: [u8; SECRET_BYTES] = [7; SECRET_BYTES];
const RESUME_WITHIN: Duration = Duration::from_secs(3600);

fn feed(stream: Option<&str>) -> FeedOf {
    FeedOf {
        project: "demo".parse().unwrap(),
        session: "0192f0c1-0000-7000-8000-000000000001".parse().unwrap(),
        stream: stream.map(|stream| stream.parse().unwrap()),
    }
}

fn ticket(stream: Option<&str>) -> Ticket {
    let caller = Caller::anonymous(Client::default());
    Ticket::new(feed(stream), &caller, Timestamp::UNIX_EPOCH, RESUME_WITHIN)
}

fn asked(stream: Option<&str>, is_resumed: bool) -> Asked {
    Asked {
        ticket: String::new(),
        feed: feed(stream),
        is_resumed,
    }
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

#[test]
fn only_what_was_signed_is_a_ticket() {
    let ticket = ticket(Some("one"));
    let text = ticket.sign(&SECRET).unwrap();
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    );
    assert_eq!(Ticket::verify(&text, &SECRET).unwrap(), ticket);
    assert!(Ticket::verify(&text, &[8; SECRET_BYTES]).is_err());
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        // The last character of a signature has bits that mean nothing, and must be zero.
        assert!(Ticket::verify(&changed, &SECRET).is_err(), "{at}");
    }
    let (claims, _) = text.split_once('.').unwrap();
    for wrong in ["", ".", claims, &format!("{claims}."), &text[1..]] {
        assert!(Ticket::verify(wrong, &SECRET).is_err(), "{wrong}");
    }
}

#[test]
fn a_ticket_opens_one_stream() {
    let now = later(0);
    assert_eq!(
        ticket(Some("one")).check(&asked(Some("one"), false), now),
        Ok(())
    );
    assert_eq!(ticket(None).check(&asked(None, false), now), Ok(()));
    for (made, used) in [
        (Some("one"), Some("two")),
        (Some("one"), None),
        (None, Some("one")),
    ] {
        assert!(ticket(made).check(&asked(used, false), now).is_err());
    }
}

#[test]
fn a_ticket_begins_soon_or_never_and_goes_on_for_a_while() {
    let ticket = ticket(None);
    assert!(ticket.check(&asked(None, false), later(59)).is_ok());
    assert!(ticket.check(&asked(None, false), later(60)).is_err());
    assert!(ticket.check(&asked(None, true), later(3599)).is_ok());
    assert!(ticket.check(&asked(None, true), later(3600)).is_err());
}
