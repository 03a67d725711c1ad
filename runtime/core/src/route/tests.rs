use proptest::prelude::*;

use super::*;
use crate::spend::Prices;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn frame(now: u64, left: u64) -> Escalation {
    Escalation { now: ms(now), left: ms(left), bytes: 1000 }
}

fn answered(round_trip: u64) -> RemoteEnd {
    RemoteEnd::Answered { round_trip: ms(round_trip), bytes: 1000 }
}

fn router(priorities: &[u32], local: bool) -> Router {
    Router::new(RoutePolicy::default(), priorities, local)
}

/// A router whose first server answered some times, in so many milliseconds, and whose local base took so many.
fn seasoned(remote: &[u64], local: Option<u64>) -> Router {
    let mut router = router(&[0], local.is_some());
    for &trip in remote {
        router.remote_ended(0, ms(0), answered(trip), 0.0);
    }
    if let Some(local) = local {
        router.local_took(ms(local));
    }
    router
}

fn break_it(router: &mut Router, endpoint: usize) {
    for _ in 0..3 {
        router.remote_ended(endpoint, ms(0), RemoteEnd::Link, 0.0);
    }
}

#[test]
fn where_a_frame_goes() {
    let remote = |hedge: Option<u64>| Route::Remote { endpoint: 0, hedge_after: hedge.map(ms) };
    /// Round trips of the server, of the local base, broken?, time left, the decision.
    type Case = (&'static [u64], Option<u64>, bool, u64, Route);
    let cases: [Case; 9] = [
        (&[], None, false, 100, remote(None)), // nothing known: try
        (&[50; 30], None, false, 100, remote(None)),
        (&[50; 30], Some(40), false, 200, remote(Some(50))), // hedge at the 95th percentile
        (&[50; 30], Some(160), false, 200, remote(Some(40))), // earlier, or the local base would be late
        (&[50; 30], Some(300), false, 200, remote(None)),    // the local base cannot help
        (&[50; 30], None, true, 100, Route::Saver(Degraded::Link)),
        (&[50; 30], Some(40), true, 100, Route::Local),
        (&[50; 30], Some(400), true, 100, Route::Saver(Degraded::Deadline)),
        (&[], Some(40), true, 39, Route::Saver(Degraded::Deadline)),
    ];
    for (trips, local, broken, left, expected) in cases {
        let mut router = seasoned(trips, local);
        if broken {
            break_it(&mut router, 0);
        }
        assert_eq!(router.route(&frame(10, left)), expected, "{trips:?} {local:?} {broken} {left}");
    }
}

#[test]
fn a_slow_server_is_tried_now_and_then() {
    let mut router = seasoned(&[500; 30], None);
    let mut at = |now| matches!(router.route(&frame(now, 100)), Route::Remote { .. });
    assert!(at(0), "nobody has looked for a while");
    assert!(!at(10) && !at(999));
    assert!(at(1000));
}

#[test]
fn the_first_server_that_can_is_asked() {
    let chosen = |router: &mut Router| match router.route(&frame(0, 100)) {
        Route::Remote { endpoint, .. } => Some(endpoint),
        _ => None,
    };
    let mut router = router(&[5, 1, 1], false);
    assert_eq!(chosen(&mut router), Some(1));
    break_it(&mut router, 1);
    assert_eq!(chosen(&mut router), Some(2));
    break_it(&mut router, 2);
    assert_eq!(chosen(&mut router), Some(0));
    break_it(&mut router, 0);
    assert_eq!(chosen(&mut router), None);
}

#[test]
fn what_is_under_way_is_bounded() {
    let mut router = router(&[0], false);
    for _ in 0..RoutePolicy::default().max_in_flight {
        assert!(matches!(router.route(&frame(0, 100)), Route::Remote { .. }));
    }
    assert_eq!(router.route(&frame(0, 100)), Route::Saver(Degraded::Busy));
    router.remote_ended(0, ms(5), RemoteEnd::Cancelled, 0.0);
    assert!(matches!(router.route(&frame(5, 100)), Route::Remote { .. }));
}

#[test]
fn a_metered_link_runs_dry_and_refills() {
    let mut router = router(&[0], false).with_budget(Some(TokenBucket::new(1000.0, 2500)), None);
    let at = |router: &mut Router, now| {
        let route = router.route(&frame(now, 100));
        if matches!(route, Route::Remote { .. }) {
            router.remote_ended(0, ms(now), answered(1), 0.0);
        }
        route
    };
    let remote = Route::Remote { endpoint: 0, hedge_after: None };
    assert_eq!((at(&mut router, 0), at(&mut router, 0)), (remote, remote));
    assert_eq!(at(&mut router, 0), Route::Saver(Degraded::Budget));
    assert_eq!(at(&mut router, 500), remote);
    let mut router = seasoned(&[], Some(1)).with_budget(None, Some(TokenBucket::new(0.0, 1)));
    assert!(matches!(router.route(&frame(0, 100)), Route::Remote { .. }));
    assert_eq!(router.route(&frame(0, 100)), Route::Local);
}

#[test]
fn it_comes_back_by_a_try_not_by_a_frame() {
    let mut router = router(&[0], false);
    break_it(&mut router, 0);
    let retry_at = router.retry_at(0).unwrap();
    assert_eq!(router.route(&Escalation { now: retry_at, left: ms(100), bytes: 1 }), Route::Saver(Degraded::Link));
    assert!(router.trying(0, retry_at));
    assert_eq!(router.tried(0, retry_at, true, 0.0), Some(Change::Closed));
    assert!(matches!(router.route(&frame(2000, 100)), Route::Remote { .. }));
}

#[test]
fn a_server_must_prove_itself_first() {
    let mut router = router(&[0], false).with_unproven_servers();
    assert_eq!(router.route(&frame(0, 100)), Route::Saver(Degraded::Link));
    assert_eq!(router.retry_at(0), Some(ms(0)));
    assert!(router.trying(0, ms(0)));
    assert_eq!(router.tried(0, ms(9), false, 0.0), None);
    assert_eq!(router.retry_at(0), Some(ms(509)));
    assert!(router.trying(0, ms(509)));
    assert_eq!(router.tried(0, ms(520), true, 0.0), Some(Change::Closed));
    assert!(matches!(router.route(&frame(530, 100)), Route::Remote { .. }));
}

proptest! {
    /// Replay: the same events give the same decisions; and whatever happens, a route is one that exists.
    #[test]
    fn the_same_events_give_the_same_decisions(events in prop::collection::vec((0u8..8, 0usize..3, 0u64..400, 0.0f64..1.0), 0..300), local in any::<bool>()) {
        let play = || {
            let mut router = router(&[0, 0, 1], local).with_budget(Some(TokenBucket::new(5000.0, 20_000)), None);
            let mut now = 0;
            let mut routes = Vec::new();
            let mut under_way = [0u32; 3];
            for &(kind, endpoint, value, random) in &events {
                now += value / 4;
                let end = match kind {
                    0..=3 => {
                        let route = router.route(&frame(now, value));
                        if let Route::Remote { endpoint, .. } = route {
                            under_way[endpoint] += 1;
                        }
                        routes.push(route);
                        continue;
                    }
                    4 => answered(value),
                    5 => [RemoteEnd::Link, RemoteEnd::Server, RemoteEnd::Silent][endpoint],
                    6 => {
                        if router.trying(endpoint, ms(now)) {
                            router.tried(endpoint, ms(now), random < 0.5, random);
                        }
                        continue;
                    }
                    _ => {
                        router.local_took(ms(value));
                        continue;
                    }
                };
                if under_way[endpoint] > 0 {
                    under_way[endpoint] -= 1;
                    router.remote_ended(endpoint, ms(now), end, random);
                }
            }
            (routes, under_way)
        };
        let (routes, under_way) = play();
        prop_assert_eq!(&routes, &play().0);
        prop_assert!(under_way.iter().all(|&count| count <= RoutePolicy::default().max_in_flight));
        for route in routes {
            match route {
                Route::Remote { endpoint, hedge_after } => prop_assert!(endpoint < 3 && (local || hedge_after.is_none())),
                Route::Local => prop_assert!(local),
                Route::Saver(_) => {}
            }
        }
    }
}

/// A way costs its joules: 4 W while the local base works, 2 W while waiting.
fn priced(per_byte: f64) -> Option<RoutePrices> {
    let prices = Prices { per_joule: 1.0, per_millisecond: 0.0, per_byte };
    Some(RoutePrices { prices, local_watts: 4.0, waiting_watts: 2.0, joules_per_byte: 0.0 })
}

/// Asks until every way has answered once: the servers after so many milliseconds, the local base after others.
fn all_known(mut router: Router, trips: &[u64], local: u64) -> Router {
    for _ in 0..=trips.len() {
        match router.route(&frame(10, 10_000)) {
            Route::Remote { endpoint, .. } => {
                router.remote_ended(endpoint, ms(10), answered(trips[endpoint]), 0.0);
            }
            Route::Local => router.local_took(ms(local)),
            Route::Saver(reason) => panic!("{reason:?}"),
        }
    }
    router
}

#[test]
fn with_prices_the_cheapest_way_in_time_is_taken() {
    let way = |trips: &[u64], local: u64, per_byte: f64, left: u64| {
        let priorities: Vec<u32> = (0..).take(trips.len()).collect();
        let mut router = all_known(router(&priorities, true).with_prices(priced(per_byte)), trips, local);
        match router.route(&frame(20, left)) {
            Route::Remote { endpoint, .. } => Some(endpoint),
            Route::Local => None,
            Route::Saver(reason) => panic!("{reason:?}"),
        }
    };
    assert_eq!(way(&[100], 40, 0.0, 10_000), None, "0.16 J here, 0.2 J of waiting");
    assert_eq!(way(&[100], 60, 0.0, 10_000), Some(0), "0.24 J here");
    assert_eq!(way(&[100], 60, 1e-4, 10_000), None, "and 0.1 of bytes");
    assert_eq!(way(&[100, 70], 60, 0.0, 10_000), Some(1), "0.14 J");
}

#[test]
fn without_prices_the_first_server_is_asked_however_dear() {
    let mut router = all_known(router(&[0], true), &[100], 1);
    assert!(matches!(router.route(&frame(20, 10_000)), Route::Remote { .. }));
}

#[test]
fn a_dear_server_is_looked_at_again_after_a_minute() {
    let mut router = all_known(router(&[0], true).with_prices(priced(0.0)), &[100], 10);
    assert_eq!(router.route(&frame(59_000, 10_000)), Route::Local);
    assert!(matches!(router.route(&frame(61_000, 10_000)), Route::Remote { .. }));
}
