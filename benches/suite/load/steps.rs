//! Growing a network, and what is measured on the way.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{
    plan::Plan,
    record::{ChangeCost, Point, Series, Times},
    servers::Servers,
    swarm::Swarm,
};
use crate::process::Interrupt;

/// How long nothing is done, to see what that costs.
const IDLE: Duration = Duration::from_secs(3);

/// Every step of the plan, as far as it goes.
pub(super) fn measure_all(
    plan: &Plan,
    servers: &Servers,
    swarm: Swarm<'_>,
    interrupt: &Interrupt,
) -> Series {
    let mut steps = Steps {
        plan,
        servers,
        swarm,
        interrupt,
        changes: 0,
    };
    let mut points = Vec::new();
    let ended = steps.measure_into(&mut points).err();
    Series {
        store: servers.kind,
        points,
        ended: ended.map(|error| format!("{error:#}")),
    }
}

struct Steps<'a> {
    plan: &'a Plan,
    servers: &'a Servers,
    swarm: Swarm<'a>,
    interrupt: &'a Interrupt,
    changes: usize,
}

impl Steps<'_> {
    fn measure_into(&mut self, points: &mut Vec<Point>) -> Result<()> {
        // The first contact takes a tenth of a second of CPU on each side; it is no join like the others.
        self.swarm.grow(1, 1)?;
        self.swarm.pin();
        for size in &self.plan.steps {
            points.push(self.measure(*size)?);
        }
        Ok(())
    }

    fn measure(&mut self, size: usize) -> Result<Point> {
        let (lost, received, cpu) = (
            self.swarm.lost(),
            self.swarm.received(),
            self.servers.cpu()?,
        );
        let start = Instant::now();
        let took = self.swarm.grow(size, self.plan.in_flight)?;
        let seconds = start.elapsed().as_secs_f64();
        let joined = took.len();
        let join_cpu = self.servers.cpu()? - cpu;
        let join_bytes = self.swarm.received() - received;
        let lag = self.swarm.lag();
        let join = Times::of(took).context("nobody joined")?;
        println!(
            "  {size} members: {:.0} joins/s, {:.1} ms of CPU each, half within {:.0} ms",
            joined as f64 / seconds,
            join_cpu / joined as f64 * 1e3,
            join.p50
        );
        let removal = self.changes(Self::remove_one)?;
        let route = self.changes(Self::add_route)?;
        println!(
            "    p99 of a removal {:.0} ms, of a route {:.0} ms",
            removal.reached.p99, route.reached.p99
        );
        let cpu = self.servers.cpu()?;
        self.interrupt.pause(IDLE);
        let idle_cores = (self.servers.cpu()? - cpu) / IDLE.as_secs_f64();
        Ok(Point {
            members: size,
            joined,
            joins_per_second: joined as f64 / seconds,
            join,
            cpu_per_join_ms: join_cpu / joined as f64 * 1e3,
            told_mib_per_second: join_bytes as f64 / f64::from(1 << 20) / seconds,
            lag,
            removal,
            route,
            idle_cores,
            memory_mib: self.servers.memory_mib()?,
            store_mib: self.servers.store_mib(),
            cache_kib: self.swarm.cache().size() as f64 / 1024.0,
            lost: self.swarm.lost() - lost,
        })
    }

    /// The same change several times, at one controller after the other.
    fn changes(
        &mut self,
        change: impl Fn(&mut Self, usize) -> Result<(Instant, f64)>,
    ) -> Result<ChangeCost> {
        let cpu = self.servers.cpu()?;
        let (mut reached, mut answered, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..self.plan.changes {
            self.changes += 1;
            let (at, took) = change(self, self.changes)?;
            let all = self.swarm.reached(self.changes, at)?;
            reached.extend(all.seconds);
            answered.push(took);
            bytes += all.bytes;
        }
        let count = self.plan.changes as f64;
        Ok(ChangeCost {
            cpu_ms: (self.servers.cpu()? - cpu) / count * 1e3,
            bytes: bytes as f64 / reached.len() as f64,
            reached: Times::of(reached).context("no node was reached")?,
            answered: Times::of(answered).context("nothing was changed")?,
        })
    }

    fn remove_one(&mut self, number: usize) -> Result<(Instant, f64)> {
        let removed = self.swarm.remove(number % self.swarm.members().len());
        self.swarm.expect(number, &removed);
        let path = format!(
            "/networks/{}/members/{}",
            self.swarm.network(),
            removed.node
        );
        let start = Instant::now();
        self.api(number).delete(&path)?;
        Ok((Instant::now(), start.elapsed().as_secs_f64()))
    }

    fn add_route(&mut self, number: usize) -> Result<(Instant, f64)> {
        let members = self.swarm.members();
        let via = &members[number % members.len()];
        self.swarm.expect(number, via);
        let path = format!("/networks/{}/routes", self.swarm.network());
        let target = format!("10.{}.{}.0/24", number / 256, number % 256);
        let body = json!({"target": target, "via": via.node.to_string()});
        let start = Instant::now();
        self.api(number).post(&path, &body)?;
        Ok((Instant::now(), start.elapsed().as_secs_f64()))
    }

    fn api(&self, number: usize) -> &super::api::Api {
        let controllers = &self.servers.controllers;
        &controllers[number % controllers.len()].api
    }
}
