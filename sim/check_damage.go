package sim

import (
	"math/rand/v2"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// damagedEvery is how many commands of a cluster there are for one that no client should have sent.
const damagedEvery = 25

// damageSome returns the command, or now and then something damaged in its place, and remembers how.
func (p *guestPlan) damageSome(r *rand.Rand, command []byte) []byte {
	if r.IntN(damagedEvery) > 0 {
		return command
	}
	damaged, how := smtest.Damage(r, command)
	if p.damaged == nil {
		p.damaged = map[string]string{}
	}
	p.damaged[string(damaged)] = how
	return own(damaged)
}

// described is a command of a finding, with what was done to it.
func (p *guestPlan) described(number int, e statemachine.Entry) smtest.Command {
	c := smtest.NewCommand(number, e)
	c.Damage = p.damaged[string(c.Bytes)]
	return c
}
