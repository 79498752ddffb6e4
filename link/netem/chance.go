package netem

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A chance is an event of some probability, with a generator of its own.
type chance struct {
	gen rand.PCG
	bar uint64 // of 2^63
}

// stages number the generators of a direction.
const (
	stageLoss = iota
	stageToBad
	stageToGood
	stageBad
	stageGood
	stageDuplicate
	stageReorder
	stageCorrupt
	stageBit
	stageJitter
)

// seedGen seeds a generator for one stage of one direction.
func seedGen(g *rand.PCG, seed uint64, stage int) {
	g.Seed(mix(seed), mix(seed^mix(uint64(stage)+1)))
}

// mix spreads the bits of neighbouring numbers (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func (c *chance) set(p Probability) { c.bar = uint64(float64(p) * (1 << 63)) }

// happens draws, unless the probability is zero.
func (c *chance) happens() bool { return c.bar != 0 && c.gen.Uint64()>>1 < c.bar }

// A Distribution is the shape of jitter. All have the mean zero; the standard
// deviation is one jitter, but for Uniform.
type Distribution uint8

const (
	// Uniform lies between minus and plus one jitter.
	Uniform Distribution = iota
	// Normal is the bell curve, cut at 3.7 jitters.
	Normal
	// Pareto has a long tail of late packets (its shape is 3), cut at about 5
	// jitters.
	Pareto
	// ParetoNormal is a quarter Normal and three quarters Pareto, which is close
	// to what the Internet does.
	ParetoNormal
)

var distributionNames = [...]string{Uniform: "uniform", Normal: "normal", Pareto: "pareto", ParetoNormal: "paretonormal"}

// String is the name that tc knows it by.
func (d Distribution) String() string {
	if int(d) < len(distributionNames) {
		return distributionNames[d]
	}
	return "unknown"
}

func distributionNamed(s string) (Distribution, bool) {
	i := slices.Index(distributionNames[:], s)
	return Distribution(max(i, 0)), i >= 0
}

const (
	tableBits = 12
	tableLen  = 1 << tableBits
	fracBits  = 32 - tableBits
	one       = 1 << 16 // a jitter, in the unit of table entries
)

// A table holds a distribution's quantiles, at (i+1/2)/tableLen. Integers keep
// results the same on all machines.
type table [tableLen]int32

// tables are made when the first jitter is set.
var tables = sync.OnceValue(func() *[len(distributionNames)]table {
	t := new([len(distributionNames)]table)
	var normal, pareto, both [tableLen]float64
	for i := range tableLen {
		u := (float64(i) + 0.5) / tableLen
		t[Uniform][i] = int32(math.Round((2*u - 1) * one))
		normal[i] = math.Sqrt2 * math.Erfinv(2*u-1)
		// Shape 3, mean 3/2, variance 3/4; the tail is cut as tc's table has it.
		pareto[i] = min((1/math.Cbrt(1-u)-1.5)/math.Sqrt(0.75), 4)
	}
	t[Normal].fill(&normal)
	t[Pareto].fill(&pareto)
	standardize(&pareto)
	for i := range both {
		both[i] = normal[i]/4 + pareto[i]*3/4
	}
	t[ParetoNormal].fill(&both)
	return t
})

// standardize makes the mean 0 and the standard deviation 1.
func standardize(q *[tableLen]float64) {
	var sum, squares float64
	for _, v := range q {
		sum += v
	}
	mean := sum / tableLen
	for _, v := range q {
		squares += (v - mean) * (v - mean)
	}
	dev := math.Sqrt(squares / tableLen)
	for i, v := range q {
		q[i] = (v - mean) / dev
	}
}

func (t *table) fill(q *[tableLen]float64) {
	standardize(q)
	for i, v := range q {
		t[i] = int32(math.Round(v * one))
	}
}

// at is the quantile at x of 2^32.
func (t *table) at(x uint32) int64 {
	const half = 1 << (fracBits - 1)
	if x < half {
		return int64(t[0])
	}
	x -= half
	i := x >> fracBits
	if i >= tableLen-1 {
		return int64(t[tableLen-1])
	}
	frac := int64(x & (1<<fracBits - 1))
	return int64(t[i]) + int64(t[i+1]-t[i])*frac>>fracBits
}

// rank is the x for which at returns v: the distribution function.
func (t *table) rank(v int64) uint32 {
	const half = 1 << (fracBits - 1)
	if v <= int64(t[0]) {
		return half
	}
	if v >= int64(t[tableLen-1]) {
		return (tableLen-1)<<fracBits + half
	}
	lo, hi := 0, tableLen-1 // t[lo] <= v < t[hi]
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; int64(t[mid]) <= v {
			lo = mid
		} else {
			hi = mid
		}
	}
	frac := (v - int64(t[lo])) << fracBits / int64(t[hi]-t[lo])
	return uint32(lo)<<fracBits + uint32(frac) + half
}

// jitter draws deviations of delay. Correlated ones go by way of a normal
// process whose members have the correlation wanted; its ranks are evenly
// distributed, so the deviations keep their distribution.
type jitter struct {
	gen       rand.PCG
	size      time.Duration
	shape     *table
	normal    *table
	rho, rest int64 // correlation r and √(1-r²), of one
	last      int64 // the normal process; of one
	begun     bool
}

func (j *jitter) set(im *Impairment) {
	j.size = im.Jitter
	if j.size == 0 {
		return
	}
	t := tables()
	j.shape, j.normal = &t[im.Distribution], &t[Normal]
	r := float64(im.Correlation)
	j.rho, j.rest = int64(math.Round(r*one)), int64(math.Round(math.Sqrt(1-r*r)*one))
}

func (j *jitter) draw() time.Duration {
	if j.size == 0 {
		return 0
	}
	x := uint32(j.gen.Uint64() >> 32)
	if j.rho != 0 {
		v := j.normal.at(x)
		if j.begun {
			v = (j.rho*j.last + j.rest*v + one/2) >> 16
		}
		j.last, j.begun = v, true
		x = j.normal.rank(v)
	}
	return time.Duration(int64(j.size) * j.shape.at(x) >> 16)
}
