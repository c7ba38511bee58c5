// Package sim runs whole clusters in virtual time: the replicas, jobs and clients that ship, on a simulated network, disk,
// clock and application, one event after the other on one goroutine. A seed says everything: how many servers and
// groups there are, their settings, what clients ask for, what goes wrong and when, and how long each message and each
// step takes. The same seed gives the same run, to the last byte of its trace.
//
//	plan := sim.NewPlan(seed)
//	result := sim.Run(plan, sim.RunOptions{})
//	if result.Failure != nil {
//		plan, result = sim.Shrink(plan, result, 200)
//	}
//
// In two runs of five an operator changes memberships meanwhile: servers join late, leave, lose their disk and are replaced under
// their id, and leadership is moved; faults wait for the stages of a change (order.go, operator.go). Hosts have numbers beside
// the ids of their servers, because two of them may have one id.
//
// A run has two phases. In the first everything that may go wrong does, and after every step an oracle holds what the
// replicas do against the rules (the table checks, in checks.go). In the second the faults end: a leader must be found,
// an open change must end, new commands must be executed, every call must be answered, all members must come together, who has left must
// know it and disturb nobody, and every command that was acknowledged must be there. At the end the histories of the clients are checked for linearizability.
//
// Check, CheckMachine and CheckClusters run a state machine of yours in such clusters, inside the simulated application, and
// hold its copies against each other: see docs/simulation.md.
//
// What it does not run: the server's shell of goroutines, sockets, Pebble, and state machines with storage of their own.
package sim
