package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRegisterOutlivesItsLeader(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(&out))
	require.Regexp(t, `^it was "", and is "one"
it was "one", and is "two"
server [123] leads, and goes away
it was "two", and is "three"
$`, out.String())
}
