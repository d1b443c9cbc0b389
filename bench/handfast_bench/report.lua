-- One line that Python reads: wrk's own output rounds, and prints no 99.9th percentile.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "handfast-bench requests=%d duration_us=%d p50_us=%d p99_us=%d p999_us=%d connect=%d read=%d write=%d status=%d timeout=%d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
