package measure

import (
	"math"
	"testing"
)

func TestPercentile(t *testing.T) {
	var hundred []int
	for i := 1; i <= 100; i++ {
		hundred = append(hundred, i)
	}
	for _, c := range []struct {
		sorted []int
		p      float64
		want   int
	}{
		{hundred, 0, 1}, {hundred, 1, 1}, {hundred, 50, 50}, {hundred, 50.1, 51}, {hundred, 99, 99}, {hundred, 100, 100},
		{[]int{7}, 50, 7}, {[]int{7}, 99, 7},
		{[]int{1, 2}, 50, 1}, {[]int{1, 2}, 51, 2},
		{[]int{1, 2, 3}, 50, 2}, {[]int{1, 2, 3}, 99, 3},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("percentile %v of %d values: %d, want %d", c.p, len(c.sorted), got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		vs   []float64
		want float64
	}{
		{[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := Median(c.vs); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.vs, got, c.want)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing: %v, want NaN", got)
	}
	unsorted := []float64{2, 1}
	if Median(unsorted); unsorted[0] != 2 {
		t.Error("median sorted the caller's values")
	}
}
