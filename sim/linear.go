package sim

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/oarlock/oarlock/client"
)

// The checker of histories knows nothing of the order in which commands were executed: it gets what a client could have
// written down, for each key alone, and looks for an order that explains it.

// linearTimeout bounds each search for one key. It is real time; a history that takes longer counts as not checked.
const linearTimeout = 10 * time.Second

type linearInput struct {
	kind   CallKind
	number uint32
	expect uint32
}

type linearOutput struct {
	known    bool
	swapped  bool
	register uint32 // before a command, or as it was read
	length   int
	list     uint64 // hash of it
}

type linearState struct {
	register uint32
	length   int
	list     uint64
}

var linearModel = porcupine.Model{
	Init: func() any { return linearState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(linearState), input.(linearInput), output.(linearOutput)
		if in.kind == CallRead {
			return out.register == s.register && out.length == s.length && out.list == s.list, s
		}
		if in.kind == CallAppend {
			s.length++
			s.list = mixed(s.list, uint64(in.number))
			return !out.known || out.length == s.length, s
		}
		fits := !out.known || out.register == s.register
		if in.kind == CallSwap {
			if out.known {
				fits = fits && out.swapped == (s.register == in.expect)
			}
			if s.register != in.expect {
				return fits, s
			}
		}
		s.register = in.number
		return fits, s
	},
}

// linearHistory returns the history of one key. What has no known outcome may take effect at any time, to the very end.
// It also returns the same calls with a hint: each command takes effect in the moment in which the first server executed it.
// The hint only narrows the time in which a call may take effect, so an order that explains it explains the history as well; it
// is found at once, where dozens of calls that all waited through one long outage can keep a search busy for minutes.
func linearHistory(ops []*op, o *groupOracle, key int) (history, hinted []porcupine.Operation) {
	for _, k := range ops {
		if k.group != o || int(k.key) != key || k.kind > CallRead || k.refused || !k.linear() {
			continue
		}
		p := porcupine.Operation{
			Input: linearInput{k.kind, k.number, k.expect}, Call: int64(k.invoked), Return: int64(k.returned), Output: linearOutput{},
		}
		switch {
		case k.err == nil && k.ended:
			p.Output = k.output()
		case k.reads():
			continue
		case errors.Is(k.err, client.ErrResultTooLarge):
		case k.executed == 0:
			continue // it may take effect at the very end, after all that anybody has seen
		default:
			p.Return = math.MaxInt64
		}
		history = append(history, p)
		if k.executed != 0 {
			p.Call, p.Return = max(p.Call, int64(k.executedAt)), min(p.Return, int64(k.executedAt))
		}
		hinted = append(hinted, p)
	}
	return history, hinted
}

func (k *op) output() linearOutput {
	b := k.result[8:]
	out := linearOutput{known: true}
	switch k.kind {
	case CallRead:
		out.register, out.length = binary.BigEndian.Uint32(b), len(b)/4-1
		for i := range out.length {
			out.list = mixed(out.list, uint64(binary.BigEndian.Uint32(b[4+4*i:])))
		}
	case CallSwap:
		out.swapped, out.register = b[0] == 1, binary.BigEndian.Uint32(b[1:])
	case CallAppend:
		out.length = int(binary.BigEndian.Uint32(b))
	default:
		out.register = binary.BigEndian.Uint32(b)
	}
	return out
}

// checkHistories looks for an order that explains what the clients of each group were told.
func (w *world) checkHistories() {
	for _, o := range w.oracle.groups {
		for key := range keysMax {
			history, hinted := linearHistory(w.oracle.ops, o, key)
			if len(history) == 0 {
				continue
			}
			if porcupine.CheckOperationsTimeout(linearModel, hinted, linearTimeout) == porcupine.Ok {
				w.saw(sawRunChecked)
				continue
			}
			switch porcupine.CheckOperationsTimeout(linearModel, history, linearTimeout) {
			case porcupine.Ok:
				w.saw(sawRunChecked)
			case porcupine.Illegal:
				w.fail(checkLinear, "no order explains what clients of group %d were told of key %d", o.group, key)
			case porcupine.Unknown:
				w.saw(sawCheckUnfinished)
			}
		}
	}
}
