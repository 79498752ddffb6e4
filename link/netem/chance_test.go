package netem

import (
	"hash/fnv"
	"math"
	"testing"
	"time"
)

// The tables are the same on every machine.
func TestTables(t *testing.T) {
	h := fnv.New64a()
	for d, tab := range tables() {
		for i, v := range tab {
			h.Write([]byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)})
			if i > 0 && v < tab[i-1] {
				t.Fatalf("%v: quantiles do not rise at %d", Distribution(d), i)
			}
		}
	}
	if got := h.Sum64(); got != tablesSum {
		t.Errorf("the tables' hash is %#x, want %#x", got, uint64(tablesSum))
	}
}

const tablesSum = 0x673cf9595174fd8a

// The mean and deviation of jitter, with and without correlation, and the
// correlation itself.
func TestJitter(t *testing.T) {
	const size, n = 2 * time.Millisecond, 200000
	for d := range Distribution(len(distributionNames)) {
		for _, rho := range []float64{0, 0.25, 0.8} {
			var j jitter
			seedGen(&j.gen, 7, stageJitter)
			j.set(&Impairment{Jitter: size, Distribution: d, Correlation: Probability(rho)})
			var sum, squares, product, last float64
			for range n {
				v := float64(j.draw()) / float64(size)
				sum += v
				squares += v * v
				product += v * last
				last = v
			}
			mean := sum / n
			dev := math.Sqrt(squares/n - mean*mean)
			want := 1.0
			if d == Uniform {
				want = 1 / math.Sqrt(3)
			}
			// Correlated samples tell less of the mean.
			sigma := want * math.Sqrt((1+rho)/(1-rho)/n)
			if math.Abs(mean) > 4*sigma+0.001 {
				t.Errorf("%v, correlation %v: mean %.4f jitters", d, rho, mean)
			}
			if math.Abs(dev-want) > 0.02 {
				t.Errorf("%v, correlation %v: deviation %.4f jitters, want %.4f", d, rho, dev, want)
			}
			// That of the ranks is the one asked for; of skewed values, near it.
			if got := (product/n - mean*mean) / (dev * dev); math.Abs(got-rho) > 0.08 {
				t.Errorf("%v: correlation %.3f, want %.3f", d, got, rho)
			}
		}
	}
}

func TestRank(t *testing.T) {
	for d, tab := range tables() {
		for x := uint32(1 << 20); x < 0xfff00000; x += 0x123457 {
			v := tab.at(x)
			if w := tab.at(tab.rank(v)); w-v > 1 || v-w > 1 {
				t.Fatalf("%v: at(rank(%d)) is %d", Distribution(d), v, w)
			}
		}
	}
}

// Generators of neighbouring seeds and stages have nothing to do with each
// other, from the first draw on.
func TestSeeds(t *testing.T) {
	const seeds, draws = 2000, 20
	hits, pairs := 0, 0
	for seed := range uint64(seeds) {
		var f [2]direction
		for i := range f {
			f[i].init(nil, 1, &Config{Seed: seed + uint64(i)})
		}
		for range draws {
			a, b := f[0].loss.gen.Uint64()>>63, f[0].duplicate.gen.Uint64()>>63
			c := f[1].loss.gen.Uint64() >> 63
			hits += int(a)
			pairs += int(a&b + a&c)
		}
	}
	const n = seeds * draws
	if math.Abs(float64(hits)-n/2) > 4*math.Sqrt(n/4) || math.Abs(float64(pairs)-n/2) > 4*math.Sqrt(n*3/8+n) {
		t.Errorf("of %d draws %d are high, and %d pairs of %d", n, hits, pairs, 2*n)
	}
}
