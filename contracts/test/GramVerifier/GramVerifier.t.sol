// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {GramVerifier} from "../../src/GramVerifier.sol";
import {G1Point, G2Point, GramProof, GramStatement, IGramVerifier} from "../../src/interfaces/IGramVerifier.sol";
import {Bn254} from "../../src/libraries/Bn254.sol";
import {GramForm} from "../../src/libraries/GramForm.sol";
import {Transcript} from "../../src/libraries/Transcript.sol";
import {ProofVectors, Proven} from "./ProofVectors.sol";
import {TrapdoorProver} from "./TrapdoorProver.sol";

/// @notice The verifier's inner steps, callable.
contract OpenVerifier is GramVerifier {
    constructor(G1Point memory tau, G2Point memory tau2, G2Point memory tauSquared2)
        GramVerifier(tau, tau2, tauSquared2)
    {}

    function squareLessOne(uint256 z) external pure returns (uint256) {
        return _squareLessOne(z);
    }

    function form(bytes calldata gram, uint256 n, uint256[] memory alphas) external pure returns (uint256) {
        return GramForm.evaluate(gram, n, alphas);
    }

    function challenges(GramStatement calldata statement, bytes calldata gram, GramProof calldata proof)
        external
        view
        returns (bytes32 seed, uint256[] memory alphas, uint256 beta, uint256 z, uint256 gamma)
    {
        uint256 n = statement.weights.length / 4;
        seed = Transcript.seed(statement, gram, n, srsId);
        alphas = Transcript.alphas(seed, statement.rows.length / (64 * statement.chunks));
        bytes32 state;
        (state, beta) = Transcript.sums(seed, proof);
        state = Transcript.product(state, proof.argument[:64]);
        z = uint256(state) % Bn254.R;
        gamma = Transcript.opening(state, proof.argument[128:]);
    }
}

contract GramVerifierTest is ProofVectors {
    OpenVerifier private open;

    function setUp() public {
        (G1Point memory tau, G2Point memory tau2, G2Point memory tauSquared2) = TrapdoorProver.powersOfTau();
        open = new OpenVerifier(tau, tau2, tauSquared2);
    }

    // ------------------------------------------------------------------ honest proofs

    function test_verify_acceptsTheSharedVectors() public view {
        uint256 count = countVectors();
        vm.assertGt(count, 6);
        for (uint256 i = 0; i < count; ++i) {
            verify(vectorAt(i));
        }
    }

    function test_verify_asksTheSharedVectorsChallenges() public view {
        for (uint256 i = 0; i < countVectors(); ++i) {
            Proven memory proven = vectorAt(i);
            (bytes32 seed, uint256[] memory alphas, uint256 beta, uint256 z, uint256 gamma) =
                open.challenges(proven.statement, proven.gram, proven.proof);
            string memory key = _key(i);
            vm.assertEq(seed, vm.parseJsonBytes32(json, string.concat(key, ".seed")), proven.name);
            bytes32[] memory expected = vm.parseJsonBytes32Array(json, string.concat(key, ".alphas"));
            vm.assertEq(keccak256(abi.encode(alphas)), keccak256(abi.encode(expected)), proven.name);
            vm.assertEq(bytes32(beta), vm.parseJsonBytes32(json, string.concat(key, ".beta")), proven.name);
            vm.assertEq(bytes32(z), vm.parseJsonBytes32(json, string.concat(key, ".z")), proven.name);
            vm.assertEq(bytes32(gamma), vm.parseJsonBytes32(json, string.concat(key, ".gamma")), proven.name);
        }
    }

    function test_srsId_isTheSharedVectors() public view {
        vm.assertEq(verifier.srsId(), vm.parseJsonBytes32(json, "$.srs.id"));
        (G1Point memory tau, G2Point memory tau2, G2Point memory tauSquared2) = verifier.powersOfTau();
        vm.assertEq(abi.encode(tau), vm.parseJsonBytes(json, "$.srs.tau_g1"));
        vm.assertEq(abi.encode(tau2), vm.parseJsonBytes(json, "$.srs.tau_g2"));
        vm.assertEq(abi.encode(tauSquared2), vm.parseJsonBytes(json, "$.srs.tau2_g2"));
    }

    // ------------------------------------------------------------------ the quadratic form

    /// @dev Whatever bytes stand in the matrix, in range for vectors or not.
    function testFuzz_form_isTheSumOverAllEntries(bytes32 seed, uint256 n, bool examined) public view {
        n = bound(n, 1, 20);
        uint256 publicRows = examined ? 6 : 5;
        bytes memory gram = randomBytes(seed, _packedLength(n, publicRows));
        uint256[] memory alphas = TrapdoorProver.alphasOf(seed, 1 + n + publicRows);
        vm.assertEq(open.form(gram, n, alphas), TrapdoorProver.form(gram, n, alphas));
    }

    /// @dev The largest, the least, and -1, whose product with a challenge leaves a residue close to r: six are too many for
    /// a word.
    function test_form_ofTheExtremesOfEveryEntry() public view {
        for (uint256 publicRows = 5; publicRows <= 6; ++publicRows) {
            _formOfExtremes(publicRows, 0x7f, 0xff);
            _formOfExtremes(publicRows, 0x80, 0);
            _formOfExtremes(publicRows, 0xff, 0xff);
        }
    }

    function _formOfExtremes(uint256 publicRows, bytes1 leading, bytes1 other) private view {
        uint256[] memory alphas = new uint256[](1 + 64 + publicRows);
        bytes memory gram = new bytes(_packedLength(64, publicRows));
        for (uint256 i = 0; i < gram.length; ++i) {
            bool leads = i < 4 * 64 * 65 ? i % 8 == 0 : (i - 4 * 64 * 65) % 16 == 0;
            gram[i] = leads ? leading : other;
        }
        for (uint256 i = 0; i < alphas.length; ++i) {
            alphas[i] = i % 2 == 0 ? type(uint128).max : 1;
        }
        vm.assertEq(open.form(gram, 64, alphas), TrapdoorProver.form(gram, 64, alphas));
    }

    // ------------------------------------------------------------------ the evaluation point

    function test_evaluationPoint_failsWhereItProvesNothing() public {
        uint256[3] memory points = [0, uint256(1), Bn254.R - 1];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IGramVerifier.DegenerateChallenge.selector, points[i]));
            open.squareLessOne(points[i]);
        }
    }

    function testFuzz_evaluationPoint_anyOtherHasAnInverse(uint256 z) public view {
        z = bound(z, 2, Bn254.R - 2);
        vm.assertNotEq(open.squareLessOne(z), 0);
        vm.assertEq(mulmod(z, TrapdoorProver.inverse(z), Bn254.R), 1);
    }

    // ------------------------------------------------------------------ powers of tau

    function test_constructor_failsIfTheSecondGroupsTauIsAnother() public {
        (G1Point memory tau,, G2Point memory tauSquared2) = TrapdoorProver.powersOfTau();
        vm.expectRevert(IGramVerifier.InvalidSrs.selector);
        new GramVerifier(tau, tauSquared2, tauSquared2);
        vm.expectRevert(IGramVerifier.InvalidSrs.selector);
        new GramVerifier(tau, _one2(), _one2());
    }

    function test_constructor_failsIfTheSquareIsAnother() public {
        (G1Point memory tau, G2Point memory tau2,) = TrapdoorProver.powersOfTau();
        vm.expectRevert(IGramVerifier.InvalidSrs.selector);
        new GramVerifier(tau, tau2, tau2);
    }

    function test_constructor_failsIfTauIsNoPoint() public {
        (G1Point memory tau, G2Point memory tau2, G2Point memory tauSquared2) = TrapdoorProver.powersOfTau();
        vm.expectRevert(abi.encodeWithSelector(IGramVerifier.InvalidPoint.selector, tau.x, tau.y + 1));
        new GramVerifier(G1Point({x: tau.x, y: tau.y + 1}), tau2, tauSquared2);
        vm.expectRevert(abi.encodeWithSelector(IGramVerifier.InvalidPoint.selector, tau.x, tau.y + Bn254.P));
        new GramVerifier(G1Point({x: tau.x, y: tau.y + Bn254.P}), tau2, tauSquared2);
        vm.expectRevert(abi.encodeWithSelector(IGramVerifier.PrecompileFailed.selector, 8));
        new GramVerifier(
            tau,
            G2Point({xImaginary: tau2.xImaginary, xReal: tau2.xReal, yImaginary: tau2.yReal, yReal: tau2.yImaginary}),
            tauSquared2
        );
    }

    /// @dev With tau zero every statement could be proven.
    function test_constructor_failsIfTauIsInfinity() public {
        G2Point memory none;
        vm.expectRevert(abi.encodeWithSelector(IGramVerifier.PointAtInfinity.selector, "tau"));
        new GramVerifier(G1Point({x: 0, y: 0}), none, none);
    }

    // ------------------------------------------------------------------ too little gas

    /// @dev A precompile that runs out of gas must not be taken for one that answered.
    function test_verify_failsWithTooLittleGas() public view {
        Proven memory proven = vectorAt(0);
        bytes memory call = abi.encodeCall(verifier.verify, (proven.statement, proven.gram, proven.proof));
        bool enough = false;
        for (uint256 gas_ = 10_000; gas_ < 400_000; gas_ += 997) {
            (bool accepted,) = address(verifier).staticcall{gas: gas_}(call);
            vm.assertFalse(accepted && gas_ < 200_000, "accepted for less than its precompiles cost");
            vm.assertFalse(enough && !accepted, "more gas, another answer");
            enough = accepted;
        }
        vm.assertTrue(enough);
    }

    function testFuzz_verify_acceptsNothingFalseWhateverTheGas(uint256 gas_) public view {
        Proven memory proven = vectorAt(0);
        proven.proof.argument[70] ^= 0x01;
        bytes memory call = abi.encodeCall(verifier.verify, (proven.statement, proven.gram, proven.proof));
        (bool accepted,) = address(verifier).staticcall{gas: bound(gas_, 10_000, 500_000)}(call);
        vm.assertFalse(accepted);
    }

    function _packedLength(uint256 n, uint256 publicRows) private pure returns (uint256) {
        return 4 * n * (n + 1) + 16 * publicRows * n + 8 * publicRows * (publicRows + 1);
    }

    function _one2() private pure returns (G2Point memory) {
        return G2Point({
            xImaginary: Bn254.ONE2_X_IMAGINARY,
            xReal: Bn254.ONE2_X_REAL,
            yImaginary: Bn254.ONE2_Y_IMAGINARY,
            yReal: Bn254.ONE2_Y_REAL
        });
    }
}
