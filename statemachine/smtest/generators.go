package smtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"

	"github.com/oarlock/oarlock/statemachine"
)

// errGenerator is about a generator that panicked.
var errGenerator = errors.New("smtest: a generator fails")

// Generated calls generate, which calls what Options.Generators returned, and returns the panic of one of them as an error. For those who
// build on this suite.
func Generated(generate func()) (err error) {
	defer func() {
		p := recover()
		if failed, ok := p.(error); ok && errors.Is(failed, errGenerator) {
			err = failed
		} else if p != nil {
			panic(p)
		}
	}()
	generate()
	return nil
}

// generate calls a generator of a name.
func generate(name string, from func(*rand.Rand) []byte, r *rand.Rand) []byte {
	defer func() {
		if p := recover(); p != nil {
			panic(fmt.Errorf("%w: Options.%s panicked: %s", errGenerator, name, PanicText(p)))
		}
	}()
	return from(r)
}

// Made calls a factory, and says what is wrong with it or with what it returns, nothing being a machine of the wrong kind. For
// those who build on this suite.
func Made(factory func() statemachine.StateMachine) (machine statemachine.StateMachine, err error) {
	defer func() {
		if p := recover(); p != nil {
			machine, err = nil, fmt.Errorf("the factory panicked: %s", PanicText(p))
		}
	}()
	machine = factory()
	switch v := reflect.ValueOf(machine); {
	case machine == nil:
		return nil, errors.New("the factory made no machine: it returned nil")
	case v.Kind() == reflect.Pointer && v.IsNil():
		return nil, fmt.Errorf("the factory made no machine: it returned a nil %T", machine)
	}
	return machine, nil
}
