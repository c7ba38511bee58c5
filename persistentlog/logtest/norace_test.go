//go:build !race

package logtest_test

const raceDetector = false
