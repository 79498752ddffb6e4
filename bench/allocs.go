package bench

func init() {
	const terms = "Heap allocations of both ends together, from the runtime's counter, in the steady state of the load."
	// Pools that a collection has emptied refill, so none is a few in a hundred.
	const none = 0.05
	register(Line{
		Name: "allocs-tcp-stream", Title: "TCP, one flow", Unit: "allocations per 64 KiB", Terms: terms,
		LowerIsBetter: true, Rounds: 3,
		Load: streams(1), Worlds: everyoneBut(),
		Value:   Window.AllocsPerOp,
		Targets: []Target{{Ours: "towpath", Limit: none}, {Ours: "towpath-plain", Limit: none}},
	})
	register(Line{
		Name: "allocs-tcp-roundtrip", Title: "TCP, 1 byte there and back", Unit: "allocations", Terms: terms,
		LowerIsBetter: true, Rounds: 3,
		Load: roundTrips, Worlds: everyoneBut(), Value: Window.AllocsPerOp,
		Targets: []Target{{Ours: "towpath", Limit: none}, {Ours: "towpath-plain", Limit: none}},
	})
	register(Line{
		Name: "allocs-udp", Title: "UDP, a datagram of 64 bytes", Unit: "allocations", Terms: terms,
		LowerIsBetter: true, Rounds: 3,
		Load: datagrams(64), Worlds: everyoneBut("gonet", "net.Pipe"), Value: Window.AllocsPerOp,
		Targets: []Target{{Ours: "towpath", Limit: none}, {Ours: "towpath-plain", Limit: none}},
	})
	forward := Line{
		Name: "allocs-forward", Title: "Forwarding, a frame of 64 bytes", Unit: "allocations", Terms: "Heap allocations, from the runtime's counter.",
		LowerIsBetter: true, Rounds: 3,
		Contenders: make(map[string]func(*Run) float64),
		Targets:    []Target{{Ours: "towpath", Limit: none}},
	}
	for name, f := range map[string]func(*Run) float64{"towpath": func(r *Run) float64 { return forwardTowpath(r, "") }, "gvisor": forwardGvisor} {
		forward.Contenders[name] = func(r *Run) float64 {
			f(r)
			return r.Notes["allocs/op"]
		}
	}
	register(forward)
}
