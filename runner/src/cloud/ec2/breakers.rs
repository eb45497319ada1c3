//! Where there was no capacity, and until when not to ask there again.

use crate::clock::Time;
use crate::config::Machines;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long a place is left alone after its first refusal; twice as long after each further one.
const FIRST: Duration = Duration::from_mins(2);

/// The longest.
const LONGEST: Duration = Duration::from_mins(15);

/// How an instance is paid for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Market {
    Spot,
    OnDemand,
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
        })
    }
}

/// An instance type in a subnet.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) instance_type: String,
    pub(super) subnet: String,
}

/// What a launch may ask for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Choice {
    pub(super) market: Market,
    pub(super) places: Vec<Place>,
}

/// A refusal that says something about later requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// No capacity there.
    Capacity(Place),
    /// The account may have no more instances of that market.
    Quota,
}

/// The places and markets that are left alone.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    places: BTreeMap<(Market, Place), Breaker>,
    markets: BTreeMap<Market, Breaker>,
}

#[derive(Clone, Copy, Debug)]
struct Breaker {
    until: Time,
    refusals: u32,
}

impl Breaker {
    fn after(earlier: Option<&Self>, now: Time) -> Self {
        let refusals = earlier.map_or(0, |breaker| breaker.refusals) + 1;
        let pause = FIRST.saturating_mul(1 << (refusals - 1).min(8)).min(LONGEST);
        Self { until: now + pause, refusals }
    }
}

impl Breakers {
    /// What to ask for: spot where the pool wants it and there may be some, else on demand. `None` while every
    /// place is left alone.
    pub(super) fn choose(&self, machines: &Machines, now: Time) -> Option<Choice> {
        let markets: &[Market] = match (machines.spot, machines.on_demand_fallback.unwrap_or(true)) {
            (true, true) => &[Market::Spot, Market::OnDemand],
            (true, false) => &[Market::Spot],
            (false, _) => &[Market::OnDemand],
        };
        let open = |market: &&Market| self.markets.get(market).is_none_or(|breaker| now >= breaker.until);
        let choice = |market: &Market| Choice { market: *market, places: self.places(machines, *market, now) };
        markets.iter().filter(open).map(choice).find(|choice| !choice.places.is_empty())
    }

    fn places(&self, machines: &Machines, market: Market, now: Time) -> Vec<Place> {
        let all = machines.instance_types.iter().flat_map(|instance_type| {
            let place = |subnet: &String| Place { instance_type: instance_type.clone(), subnet: subnet.clone() };
            machines.subnets.iter().map(place)
        });
        let left_alone =
            |place: &Place| self.places.get(&(market, place.clone())).is_some_and(|breaker| now < breaker.until);
        all.filter(|place| !left_alone(place)).collect()
    }

    pub(super) fn refused(&mut self, market: Market, refusal: &Refusal, now: Time) {
        match refusal {
            Refusal::Quota => {
                let breaker = Breaker::after(self.markets.get(&market), now);
                self.markets.insert(market, breaker);
            }
            Refusal::Capacity(place) => {
                let key = (market, place.clone());
                let breaker = Breaker::after(self.places.get(&key), now);
                self.places.insert(key, breaker);
            }
        }
    }

    /// Something was started there: it is as if nothing had ever been refused.
    pub(super) fn started(&mut self, market: Market, place: &Place) {
        self.places.remove(&(market, place.clone()));
        self.markets.remove(&market);
    }

    /// When the first of a pool's places may be asked again, of those that are left alone.
    pub(super) fn reopens(&self, machines: &Machines) -> Option<Time> {
        let ours = |place: &Place| {
            machines.instance_types.contains(&place.instance_type) && machines.subnets.contains(&place.subnet)
        };
        let places = self.places.iter().filter(|((_, place), _)| ours(place)).map(|(_, breaker)| breaker.until);
        places.chain(self.markets.values().map(|breaker| breaker.until)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machines(spot: bool, fallback: bool) -> Machines {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Machines {
            instance_types: words(&["m7i", "m6i"]),
            subnets: words(&["a", "b"]),
            spot,
            on_demand_fallback: Some(fallback),
            ..Machines::default()
        }
    }

    fn place(instance_type: &str, subnet: &str) -> Place {
        Place { instance_type: instance_type.to_owned(), subnet: subnet.to_owned() }
    }

    fn at(minutes: u64) -> Time {
        Time::from_secs(1_000_000 + minutes * 60)
    }

    fn no_capacity(breakers: &mut Breakers, market: Market, minutes: u64) {
        for place in [place("m7i", "a"), place("m7i", "b"), place("m6i", "a"), place("m6i", "b")] {
            breakers.refused(market, &Refusal::Capacity(place), at(minutes));
        }
    }

    #[test]
    fn a_place_without_capacity_is_left_alone_and_the_others_are_asked() {
        let mut breakers = Breakers::default();
        breakers.refused(Market::Spot, &Refusal::Capacity(place("m7i", "a")), at(0));
        let choice = breakers.choose(&machines(true, true), at(1)).expect("a choice");
        assert_eq!(choice.market, Market::Spot);
        assert_eq!(choice.places, [place("m7i", "b"), place("m6i", "a"), place("m6i", "b")]);
        assert_eq!(breakers.choose(&machines(true, true), at(2)).expect("a choice").places.len(), 4, "and asked again");
        assert_eq!(breakers.choose(&machines(false, true), at(1)).expect("a choice").places.len(), 4, "another market");
    }

    #[test]
    fn without_any_spot_capacity_on_demand_comes_next_where_it_may() {
        let mut breakers = Breakers::default();
        no_capacity(&mut breakers, Market::Spot, 0);
        assert_eq!(breakers.choose(&machines(true, true), at(1)).expect("a choice").market, Market::OnDemand);
        assert_eq!(breakers.choose(&machines(true, false), at(1)), None);
        assert_eq!(breakers.reopens(&machines(true, false)), Some(at(2)));
        no_capacity(&mut breakers, Market::OnDemand, 1);
        assert_eq!(breakers.choose(&machines(true, true), at(1)), None, "everything is left alone");
    }

    #[test]
    fn a_quota_closes_a_market_and_not_a_place() {
        let mut breakers = Breakers::default();
        breakers.refused(Market::Spot, &Refusal::Quota, at(0));
        assert_eq!(breakers.choose(&machines(true, true), at(1)).expect("a choice").market, Market::OnDemand);
        assert_eq!(breakers.choose(&machines(true, false), at(1)), None);
        assert_eq!(breakers.choose(&machines(true, false), at(2)).expect("a choice").places.len(), 4);
    }

    #[test]
    fn the_pause_grows_with_each_refusal_up_to_its_limit_and_ends_with_a_success() {
        let mut breakers = Breakers::default();
        let pool = machines(true, false);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            no_capacity(&mut breakers, Market::Spot, now);
            let until = (now..now + 60).find(|minute| breakers.choose(&pool, at(*minute)).is_some()).expect("it ends");
            pauses.push(until - now);
            now = until;
        }
        assert_eq!(pauses, [2, 4, 8, 15, 15, 15]);
        breakers.started(Market::Spot, &place("m7i", "a"));
        no_capacity(&mut breakers, Market::Spot, now);
        assert_eq!(breakers.choose(&pool, at(now + 2)).expect("a choice").places, [place("m7i", "a")]);
    }
}
