// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    ConsensusLedger,
    Evidence,
    Panel,
    PenaltyReason,
    PoolId,
    PoolTerms,
    TaskId,
    TaskOutcome,
    TaskPhase,
    TaskState,
    TaskTerms,
    Verifier
} from "./ConsensusTypes.sol";

/// @title Whether an output is what a model gives for a prompt: independent verifiers generate it, and a majority that
/// agrees within a tolerance decides.
/// @notice A panel of k verifiers is drawn by stake. Each generates the samples on its own machine, seals one digest of 256
/// bits a sample, and reveals them once nobody can seal any more. Two batches agree where no more than the pool's slack of
/// their samples differ by more bits than its tolerance, and no sample of a canary that most of the panel meet. The largest
/// set in which every two agree decides, if it is a majority of the panel: its medoid is accepted. Of equally large ones the
/// one with the least sum of differing bits does, then the lowest as a number.
///
/// Whoever is of that clique earns its share. Whoever is not but agrees with a member of it, or would without canaries, is
/// spared, and who agrees with none, or has not revealed, loses a unit. What is lost or not earned is burned: nobody has
/// anything by excluding anybody.
///
/// What this cannot stop: somebody who asks another verifier for its digests instead of generating, and one person with
/// several seats. The first risks a unit on the other's word, and canaries find who guesses; the second needs a majority of
/// the staked tickets for a majority of the seats. What panel 0 revealed is public when a second one or an appeal sits.
/// @dev Only the chain's native coin. Nothing in here depends on who calls `drawSeats`, `settle` and `finish`.
interface IOutputConsensus {
    // ------------------------------------------------------------------ events

    event PoolOpened(PoolId indexed pool, address indexed by, bytes32 indexed service, PoolTerms terms);
    /// @param units that were added
    event Staked(PoolId indexed pool, address indexed verifier, uint256 units);
    event Unstaked(PoolId indexed pool, address indexed verifier, uint256 units);
    event TaskOpened(TaskId indexed task, PoolId indexed pool, address indexed owner, TaskTerms terms);
    /// @notice The block is fixed whose hash decides who may sit.
    event DrawFixed(TaskId indexed task, uint256 indexed panel, uint256 blockNumber);
    event SeatsDrawn(TaskId indexed task, uint256 indexed panel, bytes32 seed, uint256 seatUntil);
    /// @param displaced whose seat it was until now, zero: it was free
    event SeatTaken(
        TaskId indexed task, uint256 indexed panel, address indexed verifier, uint256 number, address displaced
    );
    event OutputsCommitted(TaskId indexed task, uint256 indexed panel, address indexed verifier, bytes32 seal);
    /// @param digests none: the verifier says that the request cannot be met
    event OutputsRevealed(
        TaskId indexed task, uint256 indexed panel, address indexed verifier, bytes32 outputs, bytes32[] digests
    );
    event CanariesOpened(TaskId indexed task, uint16[] samples, bytes32[] digests, bytes32 salt);
    event ClaimOpened(TaskId indexed task, bytes32[] digests);
    /// @param clique seats, a bit each; zero without a majority, as are spared, medoid, outputs and acceptedSamples
    event Settled(
        TaskId indexed task,
        uint256 indexed panel,
        TaskOutcome outcome,
        uint16 clique,
        uint16 spared,
        uint8 medoid,
        bytes32 outputs,
        uint256 acceptedSamples
    );
    /// @notice An appeal has a majority: the standing panel's seats are judged by it.
    /// @param panel the standing one
    event Rejudged(TaskId indexed task, uint256 indexed panel, uint16 paid, uint16 spared);
    event Penalised(
        TaskId indexed task, uint256 indexed panel, address indexed verifier, uint256 amount, PenaltyReason reason
    );
    event Credited(address indexed account, TaskId indexed task, uint256 amount);
    event Appealed(TaskId indexed task, address indexed by, uint256 bond);
    /// @param outcome NoMajority: the reward went back
    /// @param burned of what this task held: what was not earned, and the units lost at the end
    event Finished(TaskId indexed task, TaskOutcome outcome, bytes32 outputs, bool workerAccepted, uint256 burned);
    event Withdrawn(address indexed account, address to, uint256 amount);

    // ------------------------------------------------------------------ errors

    error UnknownPool(PoolId pool);
    error UnknownTask(TaskId task);
    error UnknownPanel(TaskId task, uint256 panel);
    error InvalidTerm(string term, uint256 value);
    error WrongValue(uint256 value, uint256 expected);
    error WrongTaskPhase(TaskPhase phase, TaskPhase expected);
    error TooManyUnits(uint256 units, uint256 most);
    error NoUnits();
    /// @param free those that no seat holds
    error UnitsLocked(uint256 units, uint256 free);
    /// @param members of the pool that could sit
    error PoolTooSmall(uint256 members, uint256 needed);
    error DrawTooEarly(uint256 blockNumber, uint256 drawBlock);
    /// @notice The owner, the worker, the appellant, and who sat in an earlier panel of the task may not sit.
    error Barred(address account);
    error AlreadySeated(address account);
    /// @param since the block of the account's last stake, zero: it has none
    error StakedTooLate(uint256 since, uint256 askedAt);
    /// @param highest of those that sit
    error NumberTooHigh(uint256 number, uint256 highest);
    error NotSeated(address account);
    error AlreadyCommitted(address account);
    error NotCommitted(address account);
    error AlreadyRevealed(address account);
    error EmptySeal();
    error WrongSeal(bytes32 seal, bytes32 expected);
    error WrongDigestCount(uint256 count, uint256 expected);
    error ZeroDigest(uint256 sample);
    /// @notice Outputs without a content id, or one where the request is said not to be met.
    error WrongOutputs(bytes32 outputs);
    error NotOwner(address caller, address owner);
    error NotParty(address caller);
    error NothingSealed();
    error AlreadyOpened();
    error WrongCommitment(bytes32 commitment, bytes32 expected);
    error TooManyCanaries(uint256 count, uint256 most);
    /// @notice Out of range, or not above the one before.
    error InvalidCanary(uint256 sample);
    error WrongSeatCount(uint256 count, uint256 expected);
    /// @param seat of the panel given
    error WrongDigests(uint256 panel, uint256 seat);
    error WrongClaim(bytes32 claimHash, bytes32 expected);
    error NotEntitled(address caller);
    error ZeroAddress();
    error NothingToWithdraw(address account);
    error TransferFailed(address to, uint256 amount);

    // ------------------------------------------------------------------ pools

    /// @notice Opens a pool for a service. Its terms are for ever.
    function openPool(PoolTerms calldata unverifiedTerms) external returns (PoolId id);

    /// @notice Adds units to the caller's stake. All of its units count as staked from this block on.
    function stake(PoolId id, uint16 units) external payable;

    /// @notice Turns units that no seat holds into credits.
    function unstake(PoolId id, uint16 units) external;

    /// @notice Sends all credits of the caller.
    function withdraw(address to) external;

    // ------------------------------------------------------------------ the owner and the worker

    /// @notice Opens a task with its reward, k shares and the worker's, and asks for its panel.
    function openTask(TaskTerms calldata unverifiedTerms) external payable returns (TaskId id);

    /// @notice Opens the answers that the owner knew: at most 16, samples ascending. One counts only where most of the panel
    /// are within tolerance of it; then no slack is left at its sample.
    function openCanaries(TaskId id, uint16[] calldata samples, bytes32[] calldata digests, bytes32 salt) external;

    /// @notice Opens the worker's digests. By the worker or the owner.
    /// @dev It agrees where no more samples than the slack are beyond tolerance of the medoid, canaries or none.
    function openClaim(TaskId id, bytes32[] calldata digests, bytes32 salt) external;

    // ------------------------------------------------------------------ verifiers

    /// @notice Sits, or takes the seat of the highest number where all are taken and the caller's own is lower. Its number is
    /// the lowest of keccak256(abi.encode(seed, verifier, ticket)) over its units.
    function takeSeat(TaskId id) external;

    /// @notice Seals what the caller generated.
    /// @param seal keccak256(abi.encode(chain id, this contract, task, panel, verifier, keccak256(abi.encodePacked(digests)),
    /// outputs, salt))
    function commitOutputs(TaskId id, bytes32 seal) external;

    /// @notice Reveals what the caller sealed: a digest a sample, none of them zero, and the content id of the outputs; or no
    /// digest and no outputs, which says that the request cannot be met.
    function revealOutputs(TaskId id, bytes32[] calldata digests, bytes32 outputs, bytes32 salt) external;

    // ------------------------------------------------------------------ anyone

    /// @notice Draws the panel once the block is mined. One that is out of reach is replaced by another.
    function drawSeats(TaskId id) external;

    /// @notice Decides the panel. No majority in panel 0 asks for a second one, in panel 1 the reward goes back to the owner.
    function settle(TaskId id, Evidence calldata evidence) external;

    /// @notice Asks for a panel of 2k + 1, once a task: the owner, the worker, or a seat that revealed and is not in the
    /// clique, with so many shares as the bond.
    /// @dev If it has a majority, that is the task's, and the standing panel's seats are judged by it: who agrees with its
    /// medoid is paid, who agrees with a member of its clique, or would without canaries, is spared. The bond pays the appeal's
    /// clique, and comes back as far as what those lose who were in the standing clique goes. Otherwise the decision stands, and
    /// the bond comes back.
    function appeal(TaskId id) external payable;

    /// @notice Credits and unlocks, and burns the rest.
    function finish(TaskId id) external;

    // ------------------------------------------------------------------ views

    function pool(PoolId id) external view returns (PoolTerms memory terms, uint256 members);
    function verifier(PoolId id, address account) external view returns (Verifier memory);
    function task(TaskId id) external view returns (TaskTerms memory terms, TaskState memory state);
    function panel(TaskId id, uint256 index) external view returns (Panel memory);
    /// @notice The draw's number of an account, were it to take a seat of the panel now. Zero tickets: the highest number.
    function numberOf(TaskId id, uint256 index, address account) external view returns (uint256);
    function ledger() external view returns (ConsensusLedger memory);
    function credits(address account) external view returns (uint256);
    function poolCount() external view returns (uint256);
    function taskCount() external view returns (uint256);
    /// @notice Fixed: how many units an account may stake in a pool, which are its tickets in a draw.
    function MAX_UNITS() external view returns (uint256);
}
