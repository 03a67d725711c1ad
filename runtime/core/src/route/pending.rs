//! An escalated frame until it has its one answer: who has been asked, what came of it, what to do next.

use std::time::Duration;

use super::Degraded;

/// What happens to a frame that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The server answered something that can be used.
    RemoteAnswered,
    /// It did not, and will not.
    RemoteFailed(Degraded),
    /// The base on this board answered.
    LocalAnswered,
    /// It failed, or would not take the frame.
    LocalFailed(Degraded),
    /// Nothing but time has passed.
    Tick,
}

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Go on waiting.
    Wait,
    /// Start the base on this board, and say so with [`Event::LocalFailed`] if it cannot take the frame.
    StartLocal,
    /// The server's answer is the answer.
    TakeRemote,
    /// The local base's answer is the answer.
    TakeLocal,
    /// The saver's answer stands.
    FallBack(Degraded),
}

/// A frame that waits for a base. Exactly one of its events ends it; later ones have no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingFrame {
    deadline: Duration,
    hedge_at: Option<Duration>,
    remote: bool,
    local: Local,
    /// The first thing that went wrong: what an operator wants to know.
    trouble: Option<Degraded>,
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Local {
    /// There is none, or it was tried.
    Spent,
    /// Could be asked.
    Idle,
    /// Has been asked.
    Asked,
}

impl PendingFrame {
    /// A server has been asked. `hedge_at`: when to start the local base beside it; `local`: whether there is one.
    #[must_use]
    pub fn remote(deadline: Duration, hedge_at: Option<Duration>, local: bool) -> Self {
        let local = if local { Local::Idle } else { Local::Spent };
        Self { deadline, hedge_at, remote: true, local, trouble: None, ended: false }
    }

    /// The local base has been asked, and nobody else.
    #[must_use]
    pub fn local(deadline: Duration) -> Self {
        Self { deadline, hedge_at: None, remote: false, local: Local::Asked, trouble: None, ended: false }
    }

    /// Whether it has its answer.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// When to come back with a [`Event::Tick`] at the latest; `None` after the end.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        let hedge_at = self.hedge_at.filter(|_| self.local == Local::Idle && self.remote);
        (!self.ended).then(|| hedge_at.map_or(self.deadline, |at| at.min(self.deadline)))
    }

    /// Notes an event. `local_fits` says whether the local base, started now, would be in time.
    pub fn on(&mut self, now: Duration, event: Event, local_fits: bool) -> Action {
        if self.ended {
            return Action::Wait;
        }
        let action = self.decide(now, event, local_fits);
        match action {
            Action::Wait => {}
            Action::StartLocal => self.local = Local::Asked,
            Action::TakeRemote | Action::TakeLocal | Action::FallBack(_) => self.ended = true,
        }
        action
    }

    fn decide(&mut self, now: Duration, event: Event, local_fits: bool) -> Action {
        match event {
            Event::RemoteAnswered if self.remote && now <= self.deadline => return Action::TakeRemote,
            Event::LocalAnswered if self.local == Local::Asked && now <= self.deadline => return Action::TakeLocal,
            Event::RemoteFailed(why) => {
                self.remote = false;
                self.trouble.get_or_insert(why);
            }
            Event::LocalFailed(why) => {
                self.local = Local::Spent;
                self.trouble.get_or_insert(why);
            }
            Event::RemoteAnswered | Event::LocalAnswered | Event::Tick => {}
        }
        if now >= self.deadline {
            return Action::FallBack(self.trouble.unwrap_or(Degraded::Deadline));
        }
        let hedge = self.hedge_at.is_some_and(|at| now >= at);
        if self.local == Local::Idle && local_fits && (hedge || !self.remote) {
            return Action::StartLocal;
        }
        if self.remote || self.local == Local::Asked {
            return Action::Wait;
        }
        Action::FallBack(self.trouble.unwrap_or(Degraded::Deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn remote(hedge_at: Option<u64>, local: bool) -> PendingFrame {
        PendingFrame::remote(ms(100), hedge_at.map(ms), local)
    }

    fn check(mut frame: PendingFrame, events: &[(u64, Event, bool)], last: Action) {
        let mut action = Action::Wait;
        for &(now, event, local_fits) in events {
            action = frame.on(ms(now), event, local_fits);
        }
        assert_eq!(action, last, "{events:?}");
    }

    #[test]
    fn whoever_answers_first() {
        use Event::{LocalAnswered, LocalFailed, RemoteAnswered, RemoteFailed, Tick};
        check(remote(None, false), &[(10, RemoteAnswered, false)], Action::TakeRemote);
        check(remote(Some(20), true), &[(19, Tick, true)], Action::Wait);
        check(remote(Some(20), true), &[(20, Tick, true)], Action::StartLocal);
        check(remote(Some(20), true), &[(20, Tick, false)], Action::Wait);
        check(remote(Some(20), true), &[(20, Tick, true), (50, LocalAnswered, true)], Action::TakeLocal);
        check(remote(Some(20), true), &[(20, Tick, true), (50, RemoteAnswered, true)], Action::TakeRemote);
        check(remote(None, true), &[(5, RemoteFailed(Degraded::Link), true)], Action::StartLocal);
        check(remote(None, true), &[(5, RemoteFailed(Degraded::Link), false)], Action::FallBack(Degraded::Link));
        check(remote(None, false), &[(5, RemoteFailed(Degraded::Server), true)], Action::FallBack(Degraded::Server));
        check(
            remote(None, true),
            &[(5, RemoteFailed(Degraded::Link), true), (6, LocalFailed(Degraded::Busy), true)],
            Action::FallBack(Degraded::Link),
        );
        check(remote(None, true), &[(99, Tick, true)], Action::Wait);
        check(remote(None, true), &[(100, Tick, true)], Action::FallBack(Degraded::Deadline));
        check(PendingFrame::local(ms(100)), &[(50, LocalAnswered, true)], Action::TakeLocal);
        check(PendingFrame::local(ms(100)), &[(101, LocalAnswered, true)], Action::FallBack(Degraded::Deadline));
        check(
            PendingFrame::local(ms(100)),
            &[(50, LocalFailed(Degraded::Local), true)],
            Action::FallBack(Degraded::Local),
        );
    }

    #[test]
    fn it_says_when_to_come_back() {
        let mut frame = remote(Some(20), true);
        assert_eq!(frame.wake_at(), Some(ms(20)));
        frame.on(ms(20), Event::Tick, true);
        assert_eq!(frame.wake_at(), Some(ms(100)));
        frame.on(ms(30), Event::RemoteAnswered, true);
        assert_eq!(frame.wake_at(), None);
        assert_eq!(remote(None, true).wake_at(), Some(ms(100)));
    }

    proptest! {
        /// One end, at the deadline at the latest, and the local base is started once at most.
        #[test]
        fn one_end_for_each_frame(
            hedge in prop::option::of(0u64..120), local in any::<bool>(),
            events in prop::collection::vec((0u64..20, 0u8..5, any::<bool>()), 0..30)
        ) {
            let mut frame = remote(hedge, local);
            let (mut now, mut ends, mut starts, mut asked_local) = (0, 0, 0, false);
            for (step, kind, fits) in events {
                now += step;
                // The local base says nothing before it has been asked.
                let event = match kind {
                    0 => Event::RemoteAnswered,
                    1 => Event::RemoteFailed(Degraded::Link),
                    2 if asked_local => Event::LocalAnswered,
                    3 if asked_local => Event::LocalFailed(Degraded::Local),
                    _ => Event::Tick,
                };
                match frame.on(ms(now), event, fits) {
                    Action::Wait => prop_assert!(now < 100 || ends == 1),
                    Action::StartLocal => {
                        starts += 1;
                        asked_local = true;
                    }
                    Action::TakeLocal => {
                        prop_assert!(asked_local && now <= 100);
                        ends += 1;
                    }
                    Action::TakeRemote | Action::FallBack(_) => ends += 1,
                }
            }
            frame.on(ms(now.max(100)), Event::Tick, true);
            prop_assert!(frame.has_ended() && ends <= 1 && starts <= 1);
        }
    }
}
