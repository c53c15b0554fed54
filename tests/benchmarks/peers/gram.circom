pragma circom 2.2.0;

// The upper triangle of the Gram matrix of n private vectors with d entries: one multiplication gate an entry and pair.
// It opens no commitment to the vectors, so its cost is a lower bound on that of the statement that a round proves.
template Gram(n, d) {
    signal input vectors[n][d];
    signal output gram[n * (n + 1) / 2];

    signal products[n * (n + 1) / 2][d];
    var pair = 0;
    for (var i = 0; i < n; i++) {
        for (var j = i; j < n; j++) {
            var sum = 0;
            for (var x = 0; x < d; x++) {
                products[pair][x] <== vectors[i][x] * vectors[j][x];
                sum += products[pair][x];
            }
            gram[pair] <== sum;
            pair++;
        }
    }
}
