package sim

import (
	"slices"
	"sync/atomic"
)

// Shrink looks for a smaller plan that breaks the same rule: fewer faults, fewer calls, fewer servers, groups and clients, a
// shorter time. It makes at most runs further runs, and returns the smallest plan with its result.
func Shrink(p *Plan, r *Result, runs int) (*Plan, *Result) {
	return shrink(p, r, runs, new(atomic.Bool))
}

// shrink is Shrink that makes no further run once stop is set.
func shrink(p *Plan, r *Result, runs int, stop *atomic.Bool) (*Plan, *Result) {
	s := &shrinker{plan: p, result: r, runs: runs, stop: stop}
	for before := -1; before != s.found && s.runs > 0; {
		before = s.found
		s.shorten()
		s.cutFaults()
		s.cutOrders()
		s.cutCalls()
		s.cutServers()
		s.cutGroups()
	}
	return s.plan, s.result
}

type shrinker struct {
	plan   *Plan
	result *Result
	runs   int // that may still be made
	stop   *atomic.Bool
	found  int // how often a smaller plan was found
}

// try runs a plan and keeps it if it breaks the same rule.
func (s *shrinker) try(p *Plan) bool {
	if s.stop.Load() {
		s.runs = 0
	}
	if s.runs <= 0 {
		return false
	}
	s.runs--
	r := Run(p, RunOptions{SkipHistories: s.result.Failure.Check != checkLinear.number})
	if r.Failure == nil || r.Failure.Check != s.result.Failure.Check {
		return false
	}
	s.plan, s.result = p, r
	s.found++
	return true
}

func (p *Plan) clone() *Plan {
	c := *p
	c.Clients, c.Calls, c.Faults, c.Orders = slices.Clone(p.Clients), slices.Clone(p.Calls), slices.Clone(p.Faults), slices.Clone(p.Orders)
	return &c
}

// shorten ends the first phase where it failed, and drops what comes later.
func (s *shrinker) shorten() {
	at := s.result.Failure.At
	if at >= s.plan.Trouble {
		return
	}
	c := s.plan.clone()
	c.Trouble = at + 1
	c.Calls = slices.DeleteFunc(c.Calls, func(k Call) bool { return k.At > at })
	c.Faults = slices.DeleteFunc(c.Faults, func(f Fault) bool { return f.At > at })
	c.Orders = slices.DeleteFunc(c.Orders, func(o Order) bool { return o.At > at })
	s.try(c)
}

// cutFaults leaves out faults, many at a time first.
func (s *shrinker) cutFaults() {
	cutList(s, func(p *Plan) *[]Fault { return &p.Faults })
}

// cutOrders leaves out orders, and what waits for the stages of those that are left.
func (s *shrinker) cutOrders() {
	cutList(s, func(p *Plan) *[]Order { return &p.Orders })
	for i := range s.plan.Orders {
		if s.plan.Orders[i].Ambush.Stage != stageNone {
			c := s.plan.clone()
			c.Orders[i].Ambush = Ambush{}
			s.try(c)
		}
	}
}

func (s *shrinker) cutCalls() {
	cutList(s, func(p *Plan) *[]Call { return &p.Calls })
}

func cutList[T any](s *shrinker, list func(*Plan) *[]T) {
	for size := len(*list(s.plan)); size > 0; size /= 2 {
		for at := 0; at < len(*list(s.plan)) && s.runs > 0; {
			c := s.plan.clone()
			l := list(c)
			*l = slices.Delete(*l, at, min(at+size, len(*l)))
			if !s.try(c) {
				at += size
			}
		}
	}
}

func (s *shrinker) cutServers() {
	for n := 1; n < s.plan.Servers; n++ {
		c := s.plan.clone()
		c.Servers = n
		if s.try(c) {
			return
		}
	}
}

// cutGroups leaves one group, and those who ask it.
func (s *shrinker) cutGroups() {
	if s.plan.Groups == 1 {
		return
	}
	c := s.plan.clone()
	c.Groups = 1
	c.Calls = slices.DeleteFunc(c.Calls, func(k Call) bool { return c.Clients[k.Client].Group != 1 })
	for i := range c.Clients {
		c.Clients[i].Group = 1
	}
	s.try(c)
}
