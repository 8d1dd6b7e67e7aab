package main

import (
	"bytes"
	"compress/flate"
	"io"
	"testing"
)

func delivered(t *tally, numbers ...int64) {
	message := compose(200)
	putDigits(message[atConnection:atConnection+digitsConnection], 1)
	for _, number := range numbers {
		putDigits(message[atNumber:atNumber+digitsNumber], number)
		t.note(message, 0)
	}
}

func TestEveryFaultIsCountedAsWhatItIs(tt *testing.T) {
	cases := []struct {
		name                         string
		numbers                      []int64
		lost, misordered, duplicates int64
	}{
		{"as it should be", []int64{1, 2, 3, 4}, 0, 0, 0},
		{"two lost in between", []int64{1, 4}, 2, 0, 0},
		{"lost at the end", []int64{1, 2, 3}, 1, 0, 0},
		{"two changed places", []int64{1, 3, 2, 4}, 0, 1, 0},
		{"one twice", []int64{1, 2, 2, 3, 4}, 0, 0, 1},
		{"late and then again", []int64{1, 3, 2, 2, 4}, 0, 1, 1},
	}
	for _, c := range cases {
		t := newTally(&plan{size: 200, connections: 1, outstanding: 1000})
		t.open(1).sent.Store(4)
		delivered(t, c.numbers...)
		sent, got := t.balance()
		if sent-got != c.lost || t.misordered != c.misordered || t.duplicates != c.duplicates {
			tt.Errorf("%s: lost %d, misordered %d, duplicates %d", c.name, sent-got, t.misordered, t.duplicates)
		}
	}
}

func TestADeflatedFrameIsTheStampedMessage(tt *testing.T) {
	for _, size := range []int{minSize, 200, 4096} {
		message := compose(size)
		f := deflatedFrame(message, false)
		f.stamp(0, 42, 43)
		putDigits(message[atNumber:atNumber+digitsNumber], 42)
		putDigits(message[atTime:atTime+digitsTime], 43)
		packed := f.bytes[f.body-5:] // where the stored block's head begins
		whole := io.MultiReader(bytes.NewReader(packed), bytes.NewReader([]byte{0, 0, 0xff, 0xff}))
		got := make([]byte, size)
		if _, err := io.ReadFull(flate.NewReader(whole), got); err != nil || !bytes.Equal(got, message) {
			tt.Errorf("%d bytes: %v, %q", size, err, got)
		}
	}
}

func TestPercentilesAreOfMicroseconds(tt *testing.T) {
	values := make([]int64, 1000)
	for i := range values {
		values[i] = int64(1000-i) * 1000
	}
	got := percentiles(values)
	if got["p50"] != 501 || got["p99"] != 991 || got["p999"] != 1000 || got["max"] != 1000 {
		tt.Error(got)
	}
}
