/** What both layouts are to the command. */

/** A folder that is being filled. */
export interface Filling {
  /** Images that were done before, by any process. */
  readonly doneBefore: number;
  /** Images that will be done then, by the processes that can tell each other. */
  readonly total: number;
  /** This rank's share: does a step, and gives how many images it was. */
  readonly steps: AsyncIterable<number>;
  /**
   * Ends the work, also where it was stopped. Collective.
   *
   * @param whole Whether everything is done, which is then checked.
   * @returns What was made, in words.
   */
  finish(whole: boolean): Promise<string>;
}
