fn main() {
    let mut args = std::env::args().skip(1);
    let from: u64 = args.next().unwrap().parse().unwrap();
    let to: u64 = args.next().unwrap().parse().unwrap();
    let show = args.next().is_some();
    let start = tokio::time::Instant::now();
    let mut simulated = 0;
    for seed in from..to {
        let plan = message_queue_sim::full_sim::FullPlan::of_seed(seed);
        let t = tokio::time::Instant::now();
        let run = message_queue_sim::full_sim::run(&plan);
        simulated += run.simulated_us;
        if show { println!("{}", run.history); println!("{plan:?}"); }
        println!("{seed}: {:.1}s in {:?} records {} trace {:x} {}", run.simulated_us as f64/1e6, t.elapsed(), run.history.records.len(), run.trace, run.violations.iter().map(|v| v.to_string()).collect::<Vec<_>>().join(" | "));
    }
    println!("{} s in {:?}", simulated/1_000_000, start.elapsed());
}
